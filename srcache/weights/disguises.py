"""Files that are not what their names say: pages, pointers and stubs that a download left instead of weights.

Told by their first bytes, so that a message can say what a file is and how it came to be, where a reader of tensors
only says at which byte it stopped.
"""

from pathlib import Path

from srcache.files.regular import open_regular

_HEAD = 512


def disguise(path: Path) -> str | None:
    """What a file is instead of weights or settings, with how to get the right one; None if nothing is known of it."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "it is empty; download it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer, a small text in place of the file; run `git lfs pull`, or download the file"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "it is a web page, such as one that asks for a login or finds no such file; download the file itself"
    if not head.strip(b"\0"):
        return "it begins with zeros only, as an interrupted download leaves it; download it again"
    return None
