"""Bytes ↔ arrays ↔ tensors: the only codec code. An image is RGB, uint8, of shape (height, width, 3)."""

from srcache.images.decoders import Decoder as Decoder
from srcache.images.decoders import decoders_in_use as decoders_in_use
from srcache.images.decoding import decode as decode
from srcache.images.decoding import decode_both as decode_both
from srcache.images.decoding import decode_into as decode_into
from srcache.images.decoding import decode_lent as decode_lent
from srcache.images.decoding import read_file as read_file
from srcache.images.encoding import LOSSLESS as LOSSLESS
from srcache.images.encoding import LOSSY as LOSSY
from srcache.images.encoding import as_file as as_file
from srcache.images.encoding import encode as encode
from srcache.images.encoding import parse_codec as parse_codec
from srcache.images.encoding import plain_suffix as plain_suffix
from srcache.images.encoding import suffix_of as suffix_of
from srcache.images.pillow import Decoded as Decoded
from srcache.images.pillow import to_pixels as to_pixels
from srcache.images.pixels import FILTERS as FILTERS
from srcache.images.pixels import PIXEL_LIMIT as PIXEL_LIMIT
from srcache.images.pixels import Pixels as Pixels
from srcache.images.pixels import divisible_part as divisible_part
from srcache.images.pixels import from_tensor as from_tensor
from srcache.images.pixels import pixel_limit as pixel_limit
from srcache.images.pixels import require_pixels as require_pixels
from srcache.images.pixels import resize as resize
from srcache.images.pixels import to_batch as to_batch
from srcache.images.ppm_files import is_ppm as is_ppm
