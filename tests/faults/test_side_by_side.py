"""Several builds of one recipe into shards at once; prune and repair beside them; disks that are full or read-only."""

import json
import random
import shutil
import signal
import time

import pytest
from commands import BROKEN, PHOTOS, stored, until

from srcache.cache.manifest import open_cache


def result(run):
    """What a build that ended says; 1 is its exit code because two files are no pictures."""
    assert run.wait() == 1, run.stderr
    return json.loads(run.stdout)["result"]


def shares(results):
    """How many entries each build added; every build accounts for every entry."""
    for one in results:
        assert one["stored"] + one["added"] + one["meanwhile"] == PHOTOS
        assert one["left"] == sum(one["failed"].values()) + one["skipped"] == BROKEN
    return [one["added"] for one in results]


def verified(commands, cache):
    """The number of names that stand in two shards, in a cache without damage."""
    code, run = commands.run("verify", cache, "--json")
    assert code == 0, run.stdout + run.stderr
    return json.loads(run.stdout)["result"]["repeated"]


def partials(cache):
    """Shards that are not complete; a writer that is killed as it begins one may leave a hidden file of no bytes."""
    return sorted(cache.glob("*/data.shards/[!.]*.partial"))


def test_builds_that_start_at_one_instant_in_an_empty_folder_share_the_work(
    build_shards, commands, undisturbed_shards, tmp_path
):
    cache = tmp_path / "cache"
    runs = [build_shards(cache, "--json") for _ in range(3)]
    added = shares([result(run) for run in runs])
    assert stored(cache) == undisturbed_shards
    assert max(added) < PHOTOS, "no one did all of it"
    repeated = verified(commands, cache)
    assert repeated <= sum(added) - PHOTOS <= 2 * repeated
    assert partials(cache) == []
    journals = len(list(cache.glob("*/failures/*.jsonl")))
    assert 1 <= journals <= 3, "a build that starts after a failure was noted leaves that image out"
    (folder,) = open_cache(cache).folders()
    assert {one.tries for one in folder.failures().values()} == {journals}
    assert sorted(one["added"] for one in folder.receipts()) == sorted(added)


def test_a_build_that_starts_later_makes_nothing_that_is_there(build_shards, commands, undisturbed_shards, tmp_path):
    cache = tmp_path / "cache"
    first = build_shards(cache, "--json")
    until(lambda: len(stored(cache)) > PHOTOS // 3)
    second = build_shards(cache, "--json")
    results = [result(first), result(second)]
    assert results[1]["stored"] > PHOTOS // 3
    assert sum(shares(results)) - PHOTOS == verified(commands, cache)
    assert stored(cache) == undisturbed_shards


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 13))])
def test_killed_builds_side_by_side_lose_nothing_that_was_committed(
    seed, build_shards, commands, undisturbed_shards, tmp_path
):
    cache, rng, had = tmp_path / "cache", random.Random(seed), {}
    for _ in range(2):
        runs = [build_shards(cache) for _ in range(2)]
        for run in runs:
            time.sleep(rng.uniform(0, 0.4))
            run.send(signal.SIGKILL)
        assert {run.wait() for run in runs} <= {-signal.SIGKILL, 1}
        have = stored(cache)
        assert had.items() <= have.items() <= undisturbed_shards.items()
        had = have
    last = [build_shards(cache, "--json") for _ in range(2)]
    shares([result(run) for run in last])
    assert stored(cache) == undisturbed_shards
    assert partials(cache) == []
    verified(commands, cache)


@pytest.mark.parametrize("words", [("prune", "slow", "--yes"), ("repair",), ("repair", "--checksums")])
def test_prune_and_repair_are_sent_away_while_builds_run(words, build_shards, commands, undisturbed_shards, tmp_path):
    cache = tmp_path / "cache"
    runs = [build_shards(cache) for _ in range(2)]
    until(lambda: stored(cache))
    command, *more = words
    code, done = commands.run(command, cache, *more)
    assert code == 4
    assert "is being filled by process " in done.stderr
    assert any(str(run.pid) in done.stderr for run in runs)
    assert [run.wait() for run in runs] == [1, 1]
    assert stored(cache) == undisturbed_shards


def test_a_build_is_sent_away_while_something_else_has_the_folder(build_shards, tmp_path):
    from srcache.files import lock

    cache = tmp_path / "cache"
    assert build_shards(cache).wait() == 1
    (home,) = open_cache(cache).paths()
    with lock(home):
        run = build_shards(cache)
        assert run.wait() == 4
    assert "is being filled by process" in run.stderr


def test_where_there_are_no_locks_prune_ends_a_build_with_a_message(build_shards, commands, tmp_path):
    cache = tmp_path / "cache"
    run = build_shards(cache)
    until(lambda: stored(cache))
    code, pruned = commands.run("prune", cache, "slow", "--yes", program="without_locks")
    assert code == 0, pruned.stderr
    assert run.wait() == 4, run.stdout
    assert "was taken away while it was being" in run.stderr
    assert "Traceback" not in run.stderr
    assert open_cache(cache).paths() == [], "the folder does not come back"


def test_where_there_are_no_locks_a_repair_that_replaces_ends_a_build_with_a_message(
    build_shards, commands, undisturbed_shards, tmp_path
):
    cache = tmp_path / "cache"
    assert build_shards(cache).wait() == 1
    shard = sorted(cache.glob("*/data.shards/*.tar"))[0]
    for other in sorted(cache.glob("*/data.shards/*.tar"))[1:]:
        other.unlink()
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    run = build_shards(cache, "--shard-bytes", "1G")
    until(lambda: partials(cache))
    run.send(signal.SIGSTOP)
    code, repaired = commands.run("repair", cache, program="without_locks")
    run.send(signal.SIGCONT)
    assert code == 0, repaired.stderr
    assert run.wait() == 4, run.stdout
    assert "was taken away while it was being written" in run.stderr
    assert build_shards(cache).wait() == 1
    assert stored(cache) == undisturbed_shards
    verified(commands, cache)


def killed(build_shards, cache, **how):
    """A build into one shard that was killed, and its writer's id."""
    run = build_shards(cache, "--shard-bytes", "1G", **how)
    until(lambda: partials(cache) and len(stored(cache)) > 8)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    (left,) = partials(cache)
    return left.name[9:17]


def network_build(commands, many, slow, cache, *words):
    """A build on a network file system."""
    arguments = [many, "--cache", cache, "--recipe", slow, "--device", "cpu", "--store", "shards", "--json", *words]
    return commands.start("build", *arguments, program="on_network")


def test_on_a_network_a_shard_that_was_left_is_taken_over_only_when_told(
    build_shards, commands, many, slow, undisturbed_shards, tmp_path
):
    cache = tmp_path / "cache"
    writer = killed(build_shards, cache)
    had, (left,) = len(stored(cache)), partials(cache)
    before = left.read_bytes()
    beside = result(network_build(commands, many, slow, cache))
    assert (beside["stored"], beside["added"]) == (had, PHOTOS - had)
    assert left.read_bytes() == before, "read, and not changed"
    code, told = commands.run("info", cache)
    assert (code, f"1 shard, of writers {writer}" in told.stdout) == (0, True)
    unknown = network_build(commands, many, slow, cache, "--take-over", "00000000")
    assert unknown.wait() == 2
    assert f"of a writer '00000000'; unfinished shards there are of writers {writer}" in unknown.stdout
    taken = result(network_build(commands, many, slow, cache, "--take-over", writer))
    assert (taken["stored"], taken["added"]) == (PHOTOS, 0)
    assert partials(cache) == []
    assert left.with_suffix("").exists(), "it was sealed as it was"
    assert stored(cache) == undisturbed_shards
    again = network_build(commands, many, slow, cache, "--take-over", writer)
    assert again.wait() == 2
    assert "no shard there is unfinished" in again.stdout


@pytest.mark.parametrize("program", [None, "on_network"])
def test_repair_completes_what_killed_builds_left(program, build_shards, commands, undisturbed_shards, tmp_path):
    cache = tmp_path / "cache"
    killed(build_shards, cache)
    had, (left,) = stored(cache), partials(cache)
    with left.open("ab") as file:
        file.write(b"half an entry")
    code, run = commands.run("repair", cache, "--json", program=program)
    assert code == 0, run.stderr
    (mended,) = json.loads(run.stdout)["result"]["recipes"]
    assert (mended["completed"], mended["kept"], mended["damaged"]) == (len(had), len(had), False)
    assert partials(cache) == []
    assert left.with_suffix("").exists() is (program is None)
    assert [path.name for path in left.parent.iterdir() if path.name.startswith(".")] == []
    assert stored(cache) == had
    assert verified(commands, cache) == 0
    assert build_shards(cache).wait() == 1
    assert stored(cache) == undisturbed_shards


def test_on_a_network_repair_tells_a_writer_that_lives(build_shards, commands, undisturbed_shards, tmp_path):
    """Locks do not reach it: what it had committed is kept, and its next commit fails."""
    cache = tmp_path / "cache"
    run = build_shards(cache, "--shard-bytes", "1G")
    until(lambda: len(stored(cache)) > 8)
    run.send(signal.SIGSTOP)
    had = stored(cache)
    code, repaired = commands.run("repair", cache, program="on_network")
    assert code == 0, repaired.stderr
    assert stored(cache) == had
    run.send(signal.SIGCONT)
    assert run.wait() == 4
    assert "was taken away while it was being written" in run.stderr
    assert build_shards(cache).wait() == 1
    assert stored(cache) == undisturbed_shards


def test_take_over_is_refused_where_one_process_at_a_time_writes(build, filled, tmp_path):
    cache = shutil.copytree(filled, tmp_path / "cache")
    run = build(cache, "--take-over", "12345678")
    assert run.wait() == 2
    assert "keeps its images in lmdb" in run.stderr
    run = build(tmp_path / "new", "--store", "shards", "--take-over", "12345678")
    assert run.wait() == 2
    assert "is no srcache cache" in run.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("kilobytes", "shard_bytes"), [(4, "1G"), (40, "3K"), (84, "1G"), (120, "3K")])
def test_a_full_disk_stops_builds_and_making_room_lets_them_go_on(
    kilobytes, shard_bytes, build_shards, commands, undisturbed_shards, disk
):
    cache = disk(kilobytes * 1024) / "cache"
    for run in [build_shards(cache, "--shard-bytes", shard_bytes) for _ in range(2)]:
        assert run.wait() == 4, run.stdout + run.stderr
        assert "could not be written" in run.stderr
        assert "Traceback" not in run.stderr
    have = stored(cache)
    assert have.items() <= undisturbed_shards.items()
    assert len(have) < PHOTOS
    assert kilobytes < 84 or have
    disk(64 << 20)
    shares([result(build_shards(cache, "--json"))])
    assert stored(cache) == undisturbed_shards
    assert partials(cache) == []
    verified(commands, cache)


def test_a_read_only_cache_is_read_by_four_workers(build_shards, commands, disk, tmp_path):
    built = tmp_path / "cache"
    killed(build_shards, built)
    assert build_shards(built).wait() == 1
    for path in built.glob("*/data.shards/*.idx"):
        path.unlink()
    cache = disk(64 << 20) / "cache"
    shutil.copytree(built, cache)
    disk(64 << 20, "ro")
    (store,) = cache.glob("*/data.shards")
    workers = [commands.start(store, PHOTOS, program="read_all") for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4, [worker.stderr for worker in workers]
    assert verified(commands, cache) == 0
