"""Check every entry of one recipe in a process of its own, because reading a damaged store may end the process.

`stamp` goes through a store in the same way, and adds checksums that older versions did not write.

A store that maps its file into memory dies where that is cut off (SIGBUS) or blank (a failed assertion). `check`
therefore runs this file as a program, and reports such an end as a finding. The program writes one JSON list per line:
what kind of line it is, and its values.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.cache.receipts import readable_catalogs, wanted_names
from srcache.errors import CacheError, ChecksumError, DamagedError, ImageError, MachineError, SrcacheError
from srcache.images import decode
from srcache.keys import image_key, split_name
from srcache.progress import Progress
from srcache.stores import Store, StoreOptions

_CRASHES = {getattr(signal, name, None) for name in ("SIGBUS", "SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL")}
_PIECE = 64
_PAUSE = 0.1
_CHECK, _STAMP = "check", "stamp"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written.

    `source` is the file or folder, relative to the cache; `name` the entry, if it is one; `reason` one word for
    counting; `detail` a sentence.
    """

    source: str
    name: str
    reason: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a look at one store brought up.

    `entries` were checked, `absent` are wanted by catalogs but not there, and `repeated` are names that stand in the
    store more than once (neither of which is damage); `begun` is false where there is no store yet. `stamped` entries
    got a checksum.
    """

    entries: int = 0
    bytes: int = 0
    absent: int = 0
    repeated: int = 0
    stamped: int = 0
    begun: bool = True
    findings: list[Finding] = field(default_factory=list)


def check(folder: RecipeFolder, progress: Progress | None = None) -> Scan:
    """Check every entry of a recipe's store; a reader that dies over it is a finding.

    Raises:
        MachineError: the check could not be done, for a reason that is not the store's.
    """
    return _scanned(folder, _CHECK, progress)


def stamp(folder: RecipeFolder, progress: Progress | None = None) -> Scan:
    """Add the checksums that a store's older entries lack (see `StoreKind.stamp`); what is damaged is a finding.

    Raises:
        MachineError: it could not be done; what was done stays.
    """
    return _scanned(folder, _STAMP, progress)


def _scanned(folder: RecipeFolder, work: str, progress: Progress | None) -> Scan:
    scan = Scan()
    source = f"{folder.path.name}/{folder.store_path.name}"
    with tempfile.TemporaryFile() as errors, _started(folder, work, errors) as child:
        try:
            ended = _listen(child, scan, source, progress)
            code = child.wait()
        finally:
            child.kill()
        if code == 0 and ended:
            return scan
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
    if code < 0 and -code in _CRASHES:
        detail = f"reading it ends the process ({signal.Signals(-code).name}) after {scan.entries} entries"
        scan.findings.append(Finding(source, "", "crash", f"{detail}; {last}" if last else detail))
        return scan
    raise MachineError(f"checking {folder.path} ended early (exit code {code}); {last or 'was it killed?'}")


def _started(folder: RecipeFolder, work: str, errors: IO[bytes]) -> "subprocess.Popen[str]":
    """This file as a program, with our own search path and without what may lie in the current folder."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    command = [sys.executable, "-P", "-m", __name__, work, os.path.realpath(folder.path.parent), folder.path.name]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)


def _listen(child: "subprocess.Popen[str]", scan: Scan, source: str, progress: Progress | None) -> bool:
    """Take in what the program says; returns whether it came to its end."""
    total = 0
    for line in child.stdout or ():
        kind, *values = json.loads(line)
        if kind == "total":
            total = values[0]
        elif kind == "at":
            scan.entries, scan.bytes = values
            if progress is not None:
                progress(scan.entries, max(total, scan.entries))
        elif kind == "found":
            if (finding := Finding(source, *values)) not in scan.findings[-1:]:  # also told by what is read next
                scan.findings.append(finding)
        elif kind == "machine":
            raise MachineError(values[0])
        elif kind == "end":
            scan.absent, scan.repeated, scan.stamped, scan.begun = values
            return True
    return False


def damage_findings(cache: Cache, damaged: Mapping[Path, SrcacheError]) -> list[Finding]:
    """Files that cannot be read, as findings."""
    return [Finding(str(path.relative_to(cache.path)), "", "damaged", str(error)) for path, error in damaged.items()]


def mismatch(name: str, record: Any, payload: bytes) -> tuple[str, str] | None:
    """Why name, record and payload are not one entry's: a reason and a sentence. Nothing is decoded."""
    try:
        key, sample = split_name(name)
    except ValueError as error:
        return "bad_name", str(error)
    if not isinstance(record, dict) or (record.get("key"), record.get("sample")) != (key, sample):
        return "bad_record", "the record is not this entry's"
    if image_key(payload) != record.get("checksum"):
        return "checksum", f"the image's checksum is {image_key(payload)}, not {record.get('checksum')}"
    return None


def problems_of(name: str, record: Any, payload: bytes) -> Iterator[tuple[str, str]]:
    """What is wrong with an entry: reasons and sentences. An image above the pixel limit is not decoded."""
    wrong = mismatch(name, record, payload)
    if wrong is not None:
        yield wrong
        return
    try:
        size = list(decode(payload).shape[:2])
    except ImageError as error:
        if error.reason == "too_large":
            return
        yield error.reason, f"the image does not decode: {error}"
        return
    if size != record.get("size"):
        yield "size", f"the image's (height, width) is {size}, not {record.get('size')}"


def main() -> None:
    """The program: `python -m srcache.maintain.check_process WORK CACHE FOLDER`."""
    with suppress(ImportError):  # a system that leaves no such files has no such module
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work, cache = sys.argv[1], open_cache(sys.argv[2])
    folder, ended = cache.folder(cache.path / sys.argv[3]), _Ended()
    with _told():
        try:
            if work == _CHECK:
                _check_all(cache, folder, ended)
            else:
                ended.stamped = _stamp_entries(folder)
        except CacheError:
            ended.absent, ended.begun = len(set(wanted_names(folder.path, readable_catalogs(cache)[0]))), False
    _say("end", ended.absent, ended.repeated, ended.stamped, ended.begun)


@dataclass(slots=True)
class _Ended:
    """What the last line says; see `Scan`."""

    absent: int = 0
    repeated: int = 0
    stamped: int = 0
    begun: bool = True


@contextmanager
def _told() -> Iterator[None]:
    """Around reading: say what came of it. Whatever damaged bytes make of it, however odd, is a finding, no failure."""
    try:
        yield
    except CacheError:
        raise
    except MachineError as error:
        _say("machine", str(error))
    except DamagedError as error:
        _say("found", "", "damaged", str(error))
    except Exception as error:
        _say("found", "", "damaged", f"reading it fails in an unforeseen way ({error!r})")


def _check_all(cache: Cache, folder: RecipeFolder, ended: _Ended) -> None:
    """Check a store's files, then its entries; what is wrong with the files need not keep entries from being read."""
    with _told():
        for problem in folder.store_kind.check(folder.store_path):
            _say("found", *problem)
        ended.repeated = folder.store_kind.repeated(folder.store_path)
    options = StoreOptions(fingerprint=folder.recipe.fingerprint)
    with closing(folder.store_kind.open(folder.store_path, options)) as store:
        _say("total", len(store))
        _check_entries(store)
        ended.absent = _absent(cache, folder, store)


def _stamp_entries(folder: RecipeFolder) -> int:
    """Add the checksums that are missing; returns how many there were."""
    entries = stamped = 0
    for step in folder.store_kind.stamp(folder.store_path):
        entries, stamped = entries + step.entries, stamped + step.added
        for problem in step.problems:
            _say("found", *problem)
        _say("at", entries, 0)
    return stamped


def _absent(cache: Cache, folder: RecipeFolder, store: Store) -> int:
    """How many entries the recipe's runs were asked for, as far as known, but are not there."""
    wanted = set(wanted_names(folder.path, readable_catalogs(cache)[0]))
    return sum(not store.has(name) for name in wanted)


def _check_entries(store: Store) -> None:
    """Check names, records and payloads; a tree that leads in circles gives names out of order."""
    names, last, entries, size, due = store.names(), "", 0, 0, 0.0
    with ThreadPoolExecutor(2) as pool:
        while piece := list(islice(names, _PIECE)):
            checked = pool.map(lambda name: _checked(store, name), piece)
            for name, (payload, problems) in zip(piece, checked, strict=True):
                if name <= last:
                    raise DamagedError(f"names are out of order: {name} comes after {last}; nothing behind was checked")
                last, entries, size = name, entries + 1, size + payload
                for reason, detail in problems:
                    _say("found", name, reason, detail)
            if time.monotonic() >= due:
                _say("at", entries, size)
                due = time.monotonic() + _PAUSE
    _say("at", entries, size)


def _checked(store: Store, name: str) -> tuple[int, list[tuple[str, str]]]:
    """A payload's size, and what is wrong with an entry: reasons and sentences."""
    try:
        record, payload = store.record(name), store.get(name)
    except ChecksumError as error:
        return 0, [("checksum", str(error))]
    except DamagedError as error:
        return 0, [("unreadable", f"the entry cannot be read: {error}")]
    except MachineError:
        raise
    except Exception as error:
        return 0, [("unreadable", f"the entry cannot be read: {error!r}")]
    if payload is None:
        return 0, [("no_payload", "there is a record, but no image")]
    return len(payload), list(problems_of(name, record, payload))


def _say(*line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
