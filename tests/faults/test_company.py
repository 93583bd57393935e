"""A build among others: a second build, readers, a training loop, and a source folder that changes under it."""

import shutil

from commands import BROKEN, PHOTOS, stored, until


def test_a_second_build_is_sent_away_with_the_process_to_wait_for(build, undisturbed, tmp_path):
    first = build(tmp_path / "cache")
    until(lambda: stored(tmp_path / "cache"))
    second = build(tmp_path / "cache")
    assert second.wait() == 4
    assert f"is being filled by process {first.pid}; wait for it, or stop it" in second.stderr
    assert first.wait() == 1
    assert stored(tmp_path / "cache") == undisturbed


def test_another_recipe_may_be_built_at_the_same_time(build, undisturbed, tmp_path):
    (tmp_path / "other.yaml").write_text("engine: test-sleepy\nscale: 4\noptions: {milliseconds: 25}\n")
    first, second = build(tmp_path / "cache"), build(tmp_path / "cache", recipe=tmp_path / "other.yaml")
    assert (first.wait(), second.wait()) == (1, 1), first.stderr + second.stderr
    assert len(list((tmp_path / "cache").glob("*/data.lmdb/data.mdb"))) == 2
    shutil.rmtree(next((tmp_path / "cache").glob("other-*")))
    assert stored(tmp_path / "cache") == undisturbed


def test_eight_readers_and_a_training_loop_go_along_with_a_build(build, commands, many, undisturbed, tmp_path):
    pictures = shutil.copytree(many, tmp_path / "pictures", ignore=shutil.ignore_patterns("*broken*"))
    cache = tmp_path / "cache"
    builder = build(cache)
    until(lambda: list(cache.glob("*/data.lmdb")))
    (store,) = cache.glob("*/data.lmdb")
    readers = [commands.start(store, PHOTOS, program="read_entries") for _ in range(8)]
    trainer = commands.start(pictures, cache, PHOTOS, program="train")
    assert builder.wait() == 1, builder.stderr
    assert [reader.wait() for reader in readers] == [0] * 8, [reader.stderr for reader in readers]
    assert trainer.wait() == 0, trainer.stderr
    assert stored(cache) == undisturbed


def test_a_file_that_goes_while_a_build_runs_is_its_own_failure(build, many, undisturbed, tmp_path):
    source = shutil.copytree(many, tmp_path / "source")
    run = build(tmp_path / "cache", "--json", source=source)
    until(lambda: stored(tmp_path / "cache"))
    for number in (70, 71):
        (source / f"{number:03d}.png").unlink()
    assert run.wait() == 1
    assert run.stdout.count("cannot be read (No such file or directory)") == 2, run.stdout
    assert len(stored(tmp_path / "cache")) == PHOTOS - 2
    shutil.copytree(many, source, dirs_exist_ok=True)
    again = build(tmp_path / "cache", "--retry-failed", source=source)
    assert again.wait() == 1
    assert f"unreadable {BROKEN}" in again.stdout
    assert stored(tmp_path / "cache") == undisturbed
