"""Which formats of image files are read: by these alone a file is opened, whatever its name ends in.

The suffix says that a file is meant to be an image; its content chooses the decoder, among those of all suffixes. So a
JPEG that is called `.png` is read, and a PostScript file that is called `.png` is not: Pillow would start another
program, Ghostscript, to draw it.
"""

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "QOI": (".qoi",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "ICO": (".ico",),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""Formats by the names that Pillow gives them, each with its file suffixes in lower case. None starts a process."""

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""File suffixes, in lower case, that make a file an image."""
