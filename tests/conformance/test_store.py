"""What every store promises, checked on each kind; and that the checks catch stores which break a promise."""

import json
import shutil
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.conformance import check_store
from srcache.conformance.store import STORE_CHECKS
from srcache.errors import ConformanceError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store
from srcache.stores.memory import MemoryStore

NAMES = {check.__name__.strip("_").replace("_", " ") for check in STORE_CHECKS}
KINDS = {"lmdb": True, "memory": False}


def _entry(number, payload=b"payload", sample=0):
    key = image_key(str(number).encode())
    return Entry(entry_name(key, sample), payload, {"key": key, "sample": sample, "checksum": image_key(payload)})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_store_keeps_its_promises(kind, tmp_path):
    made = check_store(lambda name: open_store(kind, tmp_path / name, writable=True), persistent=KINDS[kind])
    assert set(made) == NAMES


class _LastWins(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        for entry in entries:
            self._entries.pop(entry.name, None)
        return super().put_many(entries)


class _ByPieces(MemoryStore):
    def put_many(self, entries):
        return sum(super(_ByPieces, self).put_many([entry]) for entry in entries)


class _Unsorted(MemoryStore):
    def names(self, prefix=""):
        return iter([name for name in self._entries if name.startswith(prefix)])


class _Miscounting(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        super().put_many(entries)
        return len(entries)


class _Views(MemoryStore):
    def get(self, name):
        found = super().get(name)
        return None if found is None else memoryview(found)


class _Stripping(MemoryStore):
    def get(self, name):
        found = super().get(name)
        return found.rstrip(b"\0") if found else found


class _NoAliases(MemoryStore):
    def resolve(self, alias):
        return None


class _FirstAlias(MemoryStore):
    def put_many(self, entries):
        before = dict(self._aliases)
        new = super().put_many(entries)
        self._aliases.update(before)
        return new


class _LooseAliases(MemoryStore):
    def resolve(self, alias):
        return super().resolve(alias) or (alias if self.names(alias) else None)


class _Borrowing(MemoryStore):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self._borrowed = {}

    def put_many(self, entries):
        entries = list(entries)
        new = super().put_many(entries)
        self._borrowed.update({entry.name: entry.record for entry in entries if entry.name not in self._borrowed})
        return new

    def record(self, name):
        return self._borrowed.get(name)


class _Rounding(MemoryStore):
    def record(self, name):
        found = super().record(name)
        return json.loads(json.dumps(found), parse_int=float) if found else found


class _Raising(MemoryStore):
    def get(self, name):
        if name not in self._entries:
            raise KeyError(name)
        return super().get(name)


class _Greedy(MemoryStore):
    """Locks itself up while somebody walks through the names."""

    def names(self, prefix=""):
        for name in sorted(self._entries):
            if name.startswith(prefix):
                if not self._lock.acquire(timeout=0.05):
                    raise RuntimeError("locked")
                yield name
                self._lock.release()

    def put_many(self, entries):
        if self._lock.locked():
            raise RuntimeError("locked")
        return super().put_many(entries)


class _NeverEmpty(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        if not entries:
            raise ValueError("nothing to put")
        return super().put_many(entries)


class _Racing(MemoryStore):
    """Counts as if each thread were alone."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self._mine = threading.local()

    def put_many(self, entries):
        entries = list(entries)
        super().put_many(entries)
        seen = self._mine.__dict__.setdefault("seen", set())
        new = {entry.name for entry in entries} - seen
        seen |= new
        return len(new)


class _HasAliases(MemoryStore):
    def has(self, name):
        return super().has(name) or name in self._aliases


class _CountsAliases(MemoryStore):
    def __len__(self):
        return super().__len__() + len(self._aliases)


class _ClosesOnce(MemoryStore):
    def close(self):
        self._entries, found = None, self._entries
        if found is None:
            raise ValueError("closed")


@pytest.mark.parametrize(
    ("broken", "caught"),
    [
        (_LastWins, "first write"),
        (_ByPieces, "all or none"),
        (_Unsorted, "names"),
        (_Miscounting, "first write"),
        (_Views, "bytes"),
        (_Stripping, "bytes"),
        (_NoAliases, "aliases"),
        (_LooseAliases, "aliases"),
        (_FirstAlias, "aliases"),
        (_Borrowing, "borrowed"),
        (_Rounding, "records"),
        (_Raising, "empty"),
        (_Greedy, "names and writes"),
        (_NeverEmpty, "nothing"),
        (_HasAliases, "having"),
        (_CountsAliases, "having"),
        (_Racing, "threads"),
        (_ClosesOnce, "closing"),
    ],
)
def test_every_check_catches_its_break(broken, caught):
    with pytest.raises(ConformanceError) as error:
        check_store(lambda _: broken(), persistent=False)
    lines = str(error.value).split("\n  - ")[1:]
    assert caught in {line.partition(":")[0] for line in lines}


def test_a_store_that_forgets_is_caught_where_it_should_not():
    with pytest.raises(ConformanceError, match="opening again: names after opening again"):
        check_store(lambda _: MemoryStore(), persistent=True)


STEPS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 2), st.binary(max_size=40), st.integers(0, 3)), max_size=6
        ),
        st.booleans(),
    ),
    max_size=8,
)


@pytest.mark.medium
@pytest.mark.parametrize("kind", KINDS)
@given(steps=STEPS)
def test_any_sequence_of_writes_is_what_a_dict_would_hold(kind, steps, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "store"
    model, aliases = {}, {}
    store = open_store(kind, path, writable=True)
    for batch, reopens in steps:
        entries = [
            Entry(_entry(number, sample=sample).name, payload, {"n": len(payload)}, (image_key(f"a{alias}".encode()),))
            for number, sample, payload, alias in batch
        ]
        new = len({entry.name for entry in entries} - set(model))
        for entry in entries:
            model.setdefault(entry.name, entry)
            aliases[entry.aliases[0]] = min(entry.name[:32], aliases.get(entry.aliases[0], "g"))
        assert store.put_many(entries) == new
        if reopens and KINDS[kind]:
            store.close()
            store = open_store(kind, path, writable=True)
    assert list(store.names()) == sorted(model)
    assert {name: store.get(name) for name in store.names()} == {name: one.payload for name, one in model.items()}
    assert {name: store.record(name) for name in model} == {name: one.record for name, one in model.items()}
    assert {image_key(f"a{n}".encode()): store.resolve(image_key(f"a{n}".encode())) for n in range(4)} == {
        image_key(f"a{n}".encode()): aliases.get(image_key(f"a{n}".encode())) for n in range(4)
    }
    prefix = min(model, default="00")[:2]
    assert list(store.names(prefix)) == sorted(name for name in model if name.startswith(prefix))
    store.close()
    shutil.rmtree(path.parent)
