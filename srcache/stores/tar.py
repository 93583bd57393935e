"""Members of tar files: written so that any tar program reads them, read without trusting a byte of them.

Only what shards are made of is understood: regular files with names of at most 100 characters, in the POSIX ustar
format (IEEE 1003.1-1988). Nothing is ever extracted. Links, devices, folders, sparse files, long names and extended
headers are refused, and so is a name that could lead out of a folder.

    header 512 | payload, filled up with zeros to 512 | header | payload | … | 1024 zeros at the end
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from srcache.errors import DamagedError

Read = Callable[[int, int], bytes]
"""(so many bytes, from there) of a file; fewer at its end."""

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends a tar file."""

_NAME = re.compile(r"[0-9a-z][0-9a-z._-]{0,99}")
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a pipe",
    b"L": "a long name",
    b"K": "a long link",
    b"S": "a sparse file",
    b"x": "an extended header",
    b"g": "a global header",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar file: its name, where its header begins, and how many bytes its payload has."""

    name: str
    offset: int
    size: int

    @property
    def start(self) -> int:
        """Where its payload begins."""
        return self.offset + BLOCK

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.start + padded(self.size)


def padded(size: int) -> int:
    """A size filled up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """The header of a regular file: no owner, no time, so that equal members are equal bytes.

    Raises:
        ValueError: the name or the size does not fit into it.
    """
    if not _NAME.fullmatch(name) or not 0 <= size < 8**11:
        raise ValueError(f"a member of a shard has a short, plain name and less than 8 GiB, but got {name!r}, {size}")
    fields = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size + b"0" * 11 + b"\0",
        b" " * 8,
        b"0" + bytes(100),
        b"ustar\x0000" + bytes(64),
        b"0000000\0" * 2,
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def packed(name: str, payload: bytes) -> bytes:
    """A whole member: header, payload, zeros."""
    return header(name, len(payload)) + payload + bytes(padded(len(payload)) - len(payload))


def parse(block: bytes, offset: int, where: str, *, strict: bool = True) -> Member | None:
    """The member that a header describes; None for a block of zeros, which ends a file.

    Args:
        block: 512 bytes.
        offset: where they begin in the file.
        where: what file it is, for messages.
        strict: every byte of it counts; without, only the name and the size, for what is compared with checksums of
            its own.

    Raises:
        DamagedError: it is no header, or one of a member that no shard has.
    """
    if not block.strip(b"\0"):
        return None
    place = f"{where} at byte {offset}"
    if len(block) < BLOCK:
        raise DamagedError(f"{place}: expected the header of a tar member, but the file ends")
    name, size = block[:100].rstrip(b"\0"), _octal(block[124:136])
    text = name.decode("latin-1")
    if strict:
        _require_header(block, place)
    if not _NAME.fullmatch(text):
        raise DamagedError(f"{place}: a shard's members have short, plain names, but this is {text[:120]!r}")
    if size is None:
        raise DamagedError(f"{place}: the size of {text} is no octal number")
    return Member(text, offset, size)


def _require_header(block: bytes, place: str) -> None:
    """Refuse a header that is none, that was changed, or that is of something else than a regular file."""
    if block[257:262] != b"ustar":
        raise DamagedError(f"{place}: expected the header of a tar member, but got something else")
    if _octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * 32:
        raise DamagedError(f"{place}: the checksum of a tar header does not hold")
    if (kind := block[156:157]) not in (b"0", b"\0"):
        raise DamagedError(f"{place}: a shard holds regular files, but this is {_REFUSED.get(kind, repr(kind))}")
    if block[345:500].strip(b"\0"):
        raise DamagedError(f"{place}: a shard's members have short, plain names, but this one's is longer")


def members(read: Read, size: int, where: str, start: int = 0, *, strict: bool = True) -> Iterator[Member]:
    """The members of a file from a header on, until its end or a block of zeros.

    Args:
        read: gives (so many bytes, from there); fewer at the end of the file.
        size: the file's.
        strict: as for `parse`.

    Raises:
        DamagedError: something is no member, or reaches beyond the file.
    """
    while start + BLOCK <= size:
        found = parse(read(BLOCK, start), start, where, strict=strict)
        if found is None:
            return
        if found.end > size:
            raise DamagedError(f"{where} is cut off: {found.name} should reach to byte {found.end}, but it has {size}")
        yield found
        start = found.end


def reader(handle: int) -> Read:
    """`read` for `members` of an open file."""
    return lambda amount, offset: os.pread(handle, amount, offset)


def _octal(field: bytes) -> int | None:
    text = field.rstrip(b" \0").lstrip(b" ")
    return int(text, 8) if re.fullmatch(rb"[0-7]{1,12}", text) else None
