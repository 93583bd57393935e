"""A cache directory: what makes a folder one, what is refused, and what a crash or another program's file may leave."""

import errno
import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bad_places import like_any_user

from srcache import files
from srcache.cache import folder as folders
from srcache.cache.manifest import Cache, RecipeFolder, create_cache, find_folder, is_cache, open_cache
from srcache.cache.receipts import readable_receipts
from srcache.errors import BusyError, CacheError, DamagedError, DiskFullError, MachineError
from srcache.files import lock
from srcache.recipe.reading import load_recipe

BICUBIC = load_recipe("bicubic")
BICUBIC_X2 = load_recipe("bicubic", {"scale": 2})
LANCZOS = load_recipe("lanczos")


@pytest.fixture
def cache(tmp_path) -> Cache:
    return create_cache(tmp_path / "cache")


@pytest.fixture
def folder(cache) -> RecipeFolder:
    return cache.add(BICUBIC)


def test_the_marker_is_frozen(cache):
    text = (cache.path / "srcache.json").read_text()
    assert text == '{"format": 1, "store": "lmdb"}\n', "caches in the field have this marker"
    assert [path.name for path in cache.path.iterdir()] == ["srcache.json"]


def test_a_cache_is_made_in_a_new_or_empty_folder_and_opened_ever_after(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/deep", "empty"):
        made = create_cache(tmp_path / name)
        assert is_cache(tmp_path / name)
        assert made == create_cache(str(tmp_path / name)) == create_cache(made.path, "lmdb") == open_cache(made.path)


def test_a_crash_while_the_marker_is_written_does_not_lock_the_folder(tmp_path):
    (tmp_path / ".srcache.json.x7f").write_text('{"form')
    assert is_cache(create_cache(tmp_path).path)


@pytest.mark.parametrize("occupied", ["photo.png", ".hidden", "srcache.json.bak"])
def test_a_folder_with_other_things_is_never_made_a_cache(tmp_path, occupied):
    (tmp_path / occupied).write_text("mine")
    with pytest.raises(CacheError, match="is not empty, and is no srcache cache"):
        create_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [occupied]


def test_a_file_is_no_place_for_a_cache(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CacheError, match="choose a new or an empty folder"):
        create_cache(tmp_path / "file")


def test_an_unknown_kind_of_store_is_refused(tmp_path, cache, monkeypatch):
    with pytest.raises(CacheError, match="one of lmdb, shards, but got 'memory'"):
        create_cache(tmp_path / "other", "memory")
    with pytest.raises(CacheError, match="keeps its images in lmdb, not in shards"):
        create_cache(cache.path, "shards")


def test_what_is_no_cache_is_not_opened(tmp_path):
    with pytest.raises(CacheError, match=r"no srcache cache .*`srcache build` makes one"):
        open_cache(tmp_path)
    with pytest.raises(CacheError, match="no srcache cache"):
        open_cache(tmp_path / "missing")


@pytest.mark.parametrize("mark", [{"format": 2, "store": "lmdb"}, {"format": 1, "store": "new"}, {}])
def test_a_cache_of_another_format_is_left_to_the_srcache_that_wrote_it(cache, mark):
    (cache.path / "srcache.json").write_text(json.dumps(mark))
    with pytest.raises(CacheError, match="reads format 1 with lmdb, shards; use the srcache that wrote it"):
        open_cache(cache.path)


@pytest.mark.parametrize("mark", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_broken_marker_is_damage(cache, mark):
    (cache.path / "srcache.json").write_bytes(mark)
    with pytest.raises(DamagedError, match=r"srcache\.json"):
        open_cache(cache.path)


def test_a_recipe_has_one_folder_however_often_it_is_added(cache):
    first, other = cache.add(BICUBIC), cache.add(BICUBIC_X2)
    assert first.path.name == "bicubic-448c49d273210155"
    assert cache.add(BICUBIC) == first != other
    assert [folder.recipe for folder in cache.folders()] == [BICUBIC, BICUBIC_X2]
    assert cache.paths() == [first.path, other.path]


def test_a_renamed_recipe_is_the_same_recipe(cache, tmp_path):
    first = cache.add(BICUBIC)
    (tmp_path / "mine.yaml").write_text("engine: resample\nscale: 4\n")
    assert cache.add(load_recipe(tmp_path / "mine.yaml")).path == first.path


def test_a_recipe_is_found_by_whatever_names_it(cache):
    cache.add(LANCZOS)
    first = cache.add(BICUBIC)
    for name in (BICUBIC, "bicubic", BICUBIC.fingerprint, first.path.name):
        assert cache.find(name) == first


def test_a_recipe_that_is_not_there_or_not_the_only_one_is_told(cache):
    with pytest.raises(CacheError, match="no recipe 'bicubic'; it holds: no recipe yet"):
        cache.find("bicubic")
    cache.add(BICUBIC)
    cache.add(BICUBIC_X2)
    with pytest.raises(CacheError, match=r"several recipes named 'bicubic'; say which by fingerprint: .*448c.*acbb"):
        cache.find("bicubic")
    with pytest.raises(CacheError, match="no recipe 'lanczos-6936bf7950937a0c'; it holds: bicubic-448c"):
        cache.find(LANCZOS)


def test_a_recipe_edited_in_place_is_damage(folder, cache):
    file = folder.path / "recipe.yaml"
    file.write_text(file.read_text().replace("scale: 4", "scale: 2"))
    with pytest.raises(DamagedError, match=r"does not belong to its folder: .*restore the file, or `srcache prune`"):
        cache.folders()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"name: bicubic\nengine: [\n", b"name: x\n"])
def test_a_recipe_that_cannot_be_read_is_damage(folder, cache, content):
    (folder.path / "recipe.yaml").write_bytes(content)
    with pytest.raises(DamagedError, match="is not a recipe that this srcache can read"):
        cache.folders()
    assert cache.paths() == [folder.path], "it is still listed, for prune"


def test_a_hidden_folder_is_no_recipe(folder, cache):
    folder.path.rename(cache.path / f".pruned-{folder.path.name}")
    assert cache.folders() == []


def test_receipts_are_kept_in_their_order(folder):
    assert folder.receipts() == []
    assert folder.samples == 1
    for number in range(20):
        folder.write_receipt({"number": number, "samples": 1 + number % 3})
    assert [receipt["number"] for receipt in folder.receipts()] == list(range(20))
    assert folder.samples == 3


def test_a_receipt_is_named_by_one_look_at_one_clock(folder, monkeypatch):
    ticks = iter([10**18 - 1, 10**18, 10**18 + 1])
    monkeypatch.setattr(folders.time, "time_ns", lambda: next(ticks))
    monkeypatch.setattr(folders.time, "time", lambda: 0.0)
    for number in range(3):
        folder.write_receipt({"number": number})
    names = sorted(path.name.rpartition("-")[0] for path in (folder.path / "receipts").iterdir())
    assert names == ["20010909T014639Z-999999999", "20010909T014640Z-000000000", "20010909T014640Z-000000001"]
    assert [receipt["number"] for receipt in folder.receipts()] == [0, 1, 2]


def test_receipts_are_in_the_order_in_which_they_were_written_whatever_the_clock_says(folder, monkeypatch):
    (folder.path / "receipts").mkdir()
    (folder.path / "receipts/note.json").write_text('{"number": -1}')
    for number, clock in enumerate([2 * 10**18, 10**18, 10**18 + 7, 2 * 10**18, 3 * 10**18]):
        monkeypatch.setattr(folders.time, "time_ns", lambda clock=clock: clock)
        folder.write_receipt({"number": number})
    receipts = [receipt for receipt in folder.receipts() if receipt["number"] >= 0]
    assert [receipt["number"] for receipt in receipts] == [0, 1, 2, 3, 4]
    assert [receipt["ended"][:4] for receipt in receipts] == ["2033", "2001", "2001", "2033", "2065"]


def test_a_broken_receipt_is_left_out(folder):
    folder.write_receipt({"samples": 1})
    next((folder.path / "receipts").iterdir()).write_text('{"samples"')
    folder.write_receipt({"samples": 3})
    assert [receipt["samples"] for receipt in folder.receipts()] == [3]
    assert folder.samples == 3


def test_a_damaged_recipe_keeps_nobody_from_the_others(cache):
    own, other = cache.add(BICUBIC), cache.add(LANCZOS)
    (other.path / "recipe.yaml").write_bytes(b"\xff")
    assert cache.add(BICUBIC) == own
    assert cache.readable() == [own]
    with pytest.raises(DamagedError, match=r"recipe\.yaml is not a recipe"):
        cache.add(LANCZOS)
    assert cache.add(BICUBIC_X2).path.is_dir()


def test_one_process_fills_a_folder(folder):
    with folder.lock():
        for busy in (folder.lock(), lock(folder.path)):
            with (
                pytest.raises(BusyError, match=f"being filled by process {os.getpid()}; wait for it, or stop it"),
                busy,
            ):
                pass
    with folder.lock():
        pass


def test_a_killed_process_lets_go_of_the_lock(folder):
    code = (
        "import sys, time; from pathlib import Path; from srcache.files import lock\n"
        "with lock(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"locked\n"
        with pytest.raises(BusyError, match=f"process {child.pid}"), folder.lock():
            pass
        child.kill()
        child.wait()
        with folder.lock():
            pass


def test_a_catalog_is_kept_once_under_its_digest(cache):
    assert cache.catalogs() == {}
    cache.keep_catalog("ab" * 16, "key,name,label\n")
    cache.keep_catalog("ab" * 16, "something else")
    [path] = cache.catalogs().values()
    assert path == cache.path / "catalogs" / f"{'ab' * 16}.csv"
    assert path.read_text() == "key,name,label\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_no_room_is_told_and_leaves_nothing_half_written(cache, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(DiskFullError, match=r"recipe\.yaml could not be written .*run the same command again"):
        cache.add(BICUBIC)
    assert list(cache.path.glob("*/*")) == []
    assert cache.folders() == []
    monkeypatch.undo()
    assert [cache.add(BICUBIC)] == cache.folders()


def test_a_new_lmdb_cache_on_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("srcache.stores.lmdb_kind.file_system", lambda path: "nfs4")
    with pytest.raises(CacheError, match=r"network file system \(nfs4\).* local disk"):
        create_cache(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


MAKER = """
import sys
from srcache.cache.manifest import create_cache, open_cache
from srcache.errors import CacheError
from srcache.recipe.reading import load_recipe
recipe = load_recipe(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    cache = create_cache(sys.argv[1], sys.argv[3])
    cache.keep_catalog("ab" * 16, "key,name,label" + chr(10))
    print(cache.add(recipe).path.name, open_cache(cache.path).kind)
except CacheError as error:
    print(error)
"""


def made_at_once(place, words):
    """What processes say that make a cache in one place at one instant."""
    with ExitStack() as stack:
        makers = []
        for recipe, kind in words:
            command = [sys.executable, "-c", MAKER, str(place), str(recipe), kind]
            how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            makers.append(stack.enter_context(subprocess.Popen(command, **how)))
            stack.callback(makers[-1].kill)
        assert [maker.stdout.readline() for maker in makers] == ["ready\n"] * len(makers)
        for maker in makers:
            maker.stdin.write("\n")
            maker.stdin.flush()
        return [maker.communicate(timeout=60)[0].strip() for maker in makers]


@pytest.mark.medium
@pytest.mark.parametrize("turn", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_cache_that_several_make_at_one_instant_is_one_cache(tmp_path, turn):
    """One recipe under two names, too: it must not get two folders."""
    (tmp_path / "mine.yaml").write_text("engine: resample\nscale: 4\n")
    said = made_at_once(tmp_path / "cache", [("bicubic", "shards"), (tmp_path / "mine.yaml", "shards")] * 3)
    assert len(set(said)) == 1, said
    assert [folder.recipe.fingerprint for folder in open_cache(tmp_path / "cache").folders()] == [BICUBIC.fingerprint]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"catalogs", "srcache.json", said[0].split()[0]}


@pytest.mark.medium
@pytest.mark.parametrize("turn", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_of_two_kinds_at_one_instant_one_is_refused(tmp_path, turn):
    said = made_at_once(tmp_path / "cache", [("bicubic", kind) for kind in ("lmdb", "shards") * 2])
    kind = open_cache(tmp_path / "cache").kind
    assert sorted(line.endswith(f" {kind}") for line in said) == [False, False, True, True], said
    assert sum("keeps its images in" in line for line in said) == 2


def test_several_hold_a_folder_of_shards_and_one_a_folder_of_lmdb(tmp_path, folder):
    shards = create_cache(tmp_path / "shards", "shards").add(BICUBIC)
    with shards.lock(), shards.lock(), pytest.raises(BusyError), lock(shards.path):
        pass
    with folder.lock(), pytest.raises(BusyError), folder.lock():
        pass


def test_a_folder_that_was_taken_away_is_not_filled(folder):
    (folder.path / "recipe.yaml").unlink()
    with pytest.raises(BusyError, match="was taken away a moment ago"), folder.lock():
        pass


def test_a_cache_stays_where_it_is_when_the_process_moves(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for cache in (create_cache("cache"), open_cache("cache"), Cache(Path("cache"), "lmdb")):
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert (cache.path, cache.place, cache.home) == (Path("cache"), Path("cache"), tmp_path / "cache")
        with pytest.raises(CacheError, match=f"{tmp_path}/cache holds 0 recipes"):
            find_folder(cache, None)
        assert not list(Path().iterdir())
        monkeypatch.chdir(tmp_path)


def test_a_folder_that_may_not_be_entered_is_neither_empty_nor_damaged(tmp_path):
    cache = create_cache(tmp_path / "cache")
    open_one, closed = cache.add(load_recipe("bicubic")), cache.add(load_recipe("lanczos"))
    (tmp_path / "cache/lost+found").mkdir(0)
    closed.path.chmod(0)
    try:
        with like_any_user():
            assert cache.find("bicubic") == cache.add(load_recipe("bicubic")) == open_one
            assert cache.paths() == [open_one.path, closed.path]
            for ask in (cache.folders, lambda: cache.find("lanczos"), lambda: readable_receipts(closed.path)):
                with pytest.raises(MachineError, match=r"lanczos-.* could not be read \(Permission denied\)"):
                    ask()
    finally:
        closed.path.chmod(0o755)
        (tmp_path / "cache/lost+found").chmod(0o755)


def test_a_cache_may_lie_below_a_name_that_is_not_utf_8(tmp_path):
    place = tmp_path / os.fsdecode(b"m\xfcll") / "cache"
    folder = create_cache(place, "lmdb").add(load_recipe("bicubic"))
    with closing(folder.store(writable=True)) as store:
        assert len(store) == 0
    assert not list(folder.store_kind.check(folder.store_path))
    assert open_cache(place).find().path == folder.path
