"""The fast checksum (xxh3) for entries of LMDB stores that older versions wrote with the slow one (BLAKE2b) alone.

An entry gets it in its record, first, as new ones have it, and only if its payload still has the checksum that it was
written with. Entries are gone through in pieces, each of which is one commit: what a stopped run did stays, and the
next goes on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srcache.keys import image_key
from srcache.stores.interface import Problem, Stamped
from srcache.stores.lmdb import XXH3
from srcache.stores.lmdb_environment import NAMES_AT_ONCE, Environment, shared_environment
from srcache.stores.records import with_checksums

_PIECE = 64


def stamp(path: Path) -> Iterator[Stamped]:
    """See `StoreKind.stamp`."""
    environment = shared_environment(path)
    environment.open(writable=True)
    start, after = b"", False
    while True:
        names = environment.names(start, after, b"")
        for first in range(0, len(names), _PIECE):
            yield _stamped(environment, names[first : first + _PIECE])
        if len(names) < NAMES_AT_ONCE:
            return
        start, after = names[-1], True


def _stamped(environment: Environment, names: list[bytes]) -> Stamped:
    """Give some entries their checksum, in one commit."""
    changes, problems = dict[bytes, tuple[bytes, bytes]](), list[Problem]()
    for name in names:
        record = environment.get(b"records", name) or b""
        if record.startswith(XXH3):
            continue
        made = _with_checksum(name.decode("latin-1"), record, environment.get(b"images", name))
        if isinstance(made, Problem):
            problems.append(made)
        else:
            changes[name] = record, made

    def put(transaction: Any, images: Any, records: Any, aliases: Any) -> None:
        for name, (old, new) in changes.items():
            if transaction.get(name, db=records) == old:
                transaction.put(name, new, db=records)

    if changes:
        environment.write(put)
    return Stamped(len(names), len(changes), tuple(problems))


def _with_checksum(name: str, record: bytes, payload: bytes | None) -> bytes | Problem:
    """A record with the fast checksum, or why it must not have one."""
    if payload is None:
        return Problem(name, "no_payload", "there is a record, but no image")
    try:
        fields = json.loads(record)
        noted = fields["checksum"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Problem(name, "bad_record", "the record is not this entry's")
    if image_key(payload) != noted:
        return Problem(name, "checksum", f"the image's checksum is {image_key(payload)}, not {noted}")
    return json.dumps(with_checksums(fields, payload)).encode()
