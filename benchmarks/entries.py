"""Entries of a cache as a fill makes them, of payloads that are there already."""

from xxhash import xxh3_64_hexdigest

from srcache.keys import ImageKey, entry_name, image_key, noise_seed
from srcache.stores import Entry


def made_entry(key: ImageKey, payload: bytes, side: int) -> Entry:
    """The first sample of an image, with a complete record; source and payload are squares of that side."""
    record = {
        "xxh3": xxh3_64_hexdigest(payload),
        "key": key,
        "sample": 0,
        "seed": noise_seed(0, key, 0),
        "source": [side, side],
        "lr": [side, side],
        "size": [side, side],
        "notes": {},
        "milliseconds": 0.0,
        "device": "none",
        "checksum": image_key(payload),
    }
    return Entry(entry_name(key, 0), payload, record)
