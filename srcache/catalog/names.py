"""Image suffixes; the one rule for a name without its suffix (today two rules in eight places)."""


def stem_of(name: str) -> str:
    """An image's name without its suffix; a dot that starts no image suffix belongs to the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES and not stem.endswith("/") and stem else name


SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".ppm"),
    *(".pgm", ".pbm", ".pnm", ".qoi", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".pcx", ".ico"),
)
"""File suffixes, in lower case, that make a file an image."""
