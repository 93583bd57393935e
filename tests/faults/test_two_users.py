"""A cache that two users of a group share: each goes on with what the other began, where umask and folder allow it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bad_places import become
from PIL import Image

GROUP, ANNA, BELA = 54_321, 54_322, 54_323

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two other users")]


@pytest.fixture
def shared(make_image):
    """A folder of the group's, in which what is made is the group's too, and photos that everybody may read."""
    home = Path(tempfile.mkdtemp(prefix="srcache-users-"))
    home.chmod(0o755)
    for number in range(4):
        (home / f"photos{number // 2}").mkdir(exist_ok=True)
        Image.fromarray(make_image(12, 16, number)).save(home / f"photos{number // 2}/{number}.png")
    (home / "group").mkdir()
    os.chown(home / "group", ANNA, GROUP)
    (home / "group").chmod(0o2775)
    yield home
    shutil.rmtree(home)


def _srcache(home, user, *words, umask=0o002):
    environment = {**os.environ, "SRCACHE_HOME": str(home / f"none-{user}"), "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "srcache_cli.main", *map(str, words)],
        preexec_fn=lambda: become(user, GROUP, umask),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_both_fill_verify_repair_and_prune(shared, store):
    build = ("--cache", "group/cache", "--recipe", "bicubic", "--device", "cpu", "--store", store)
    lines = [
        (ANNA, "build", "photos0", *build),
        (BELA, "build", "photos1", *build),
        (ANNA, "build", "photos1", *build),
        (BELA, "verify", "group/cache"),
        (BELA, "repair", "group/cache"),
        (ANNA, "info", "group/cache"),
        (BELA, "merge", "group/cache", "--into", "group/copy", "--store", store),
        (ANNA, "merge", "group/cache", "--into", "group/copy", "--store", store),
        (BELA, "prune", "group/cache", "bicubic", "--yes"),
        (ANNA, "build", "photos0", *build),
    ]
    for user, *words in lines:
        done = _srcache(shared, user, *words)
        assert done.returncode == 0, f"{user}: {words}: {done.stdout}{done.stderr}"
    for folder, _, names in os.walk(shared / "group"):
        for path in map(Path, [folder, *(f"{folder}/{name}" for name in names)]):
            assert (path.stat().st_gid, path.stat().st_mode & 0o060) == (GROUP, 0o060), path


def test_what_a_usual_umask_forbids_is_said(shared):
    build = ("--cache", "group/cache", "--recipe", "bicubic", "--device", "cpu")
    assert _srcache(shared, ANNA, "build", "photos0", *build, umask=0o022).returncode == 0
    done = _srcache(shared, BELA, "build", "photos1", *build)
    assert done.returncode == 4
    assert "could not be written (Permission denied)" in done.stderr
    assert "give permission" in done.stderr
    assert _srcache(shared, BELA, "verify", "group/cache").returncode == 0
