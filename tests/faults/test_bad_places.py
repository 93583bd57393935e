"""Every command with every kind of place where nothing can be read or written: an error in words, never a bug."""

import json
import random
import shutil
import time
from collections.abc import Iterator

import pytest
from bad_places import ODD_NAME, like_any_user, make_bad_places
from every_command import LINES, command_names, name_of
from srcache_cli.main import run

from srcache.files import write_atomic
from srcache.images import encode

HEAVY = {"eval", "models", "doctor", "predict", "safety", "upscale"}
"""Commands that import much before they look at a place."""

TINY = {
    **{"name": "tiny", "question": "Which?", "recipe": "bicubic", "seeds": [0], "device": "cpu"},
    **{"data": {"kind": "folders", "train": "photos", "validation": "photos", "test": "photos"}},
    **{"degradation": {"factor": 2}, "arms": [{"name": "lr", "arm": "lr"}]},
    "train": {"network": "small:2", "size": 16, "epochs": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_image):
    """A folder where every line finds what it reads."""
    home = tmp_path_factory.mktemp("made")
    for number in range(8):
        write_atomic(home / f"photos/{'ab'[number % 2]}/{number // 2}.png", encode(make_image(16, 16, number), "png"))
    photos = str(home / "photos")
    assert run(["build", photos, "--cache", str(home / "cache"), "--recipe", "bicubic", "--device", "cpu"]) == 0
    write_atomic(home / "options.yaml", "{}")
    write_atomic(home / "tiny.yaml", json.dumps(TINY))
    write_atomic(home / "a.csv", "name,label,prediction\nx,a,a\ny,b,b\n")
    write_atomic(home / "quality.csv", "name,psnr\na/0,30\n")
    write_atomic(home / "token", "0123456789abcdef" * 2)
    (home / "token").chmod(0o600)
    return home


@pytest.fixture(scope="module")
def trained(made):
    """The same, with a training in it."""
    settings = [word for one in ("size=16", "epochs=1", "network=small:2") for word in ("--set", one)]
    out = made / "runs/lr"
    assert (
        run(["train", "--lr", str(made / "photos"), "--arm", "lr", "--validation", "0.3", "--out", str(out), *settings])
        == 0
    )


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "home"))
    yield tmp_path / "home"
    for closed in ("closed", "sealed"):
        (tmp_path / "home" / closed).chmod(0o755)


def _lines_of(line: str, place: str) -> Iterator[list[str]]:
    """The line with a place in each of its marks, one after the other."""
    words = line.split()
    for slot, word in enumerate(words):
        if "@" in word:
            yield [*(one.replace("@", "") for one in words[:slot]), word[: word.index("@")] + place] + [
                one.replace("@", "") for one in words[slot + 1 :]
            ]


def _refused(words, capfd):
    capfd.readouterr()
    started = time.monotonic()
    with like_any_user():
        code = run(words)
    out, err = capfd.readouterr()
    said = f"{[word[:40] for word in words]}: {code}: {out[-500:]}{err[-500:]}"
    assert code in (0, 1, 2, 4), said
    assert out + err, said
    assert "Traceback" not in out + err, said
    assert "internal error" not in err, said
    assert time.monotonic() - started < 30, said


def test_no_command_is_left_out():
    assert {name_of(line) for line in LINES} == command_names()


@pytest.mark.medium
def test_every_command_says_what_is_wrong_with_a_place(home, capfd):
    places = make_bad_places(home)
    rng = random.Random(7)
    for line in LINES:
        if line.split()[0] not in HEAVY:
            _refused(rng.choice(list(_lines_of(line, rng.choice(sorted(places.values()))))), capfd)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_every_command_with_every_bad_place(trained, home, capfd, line):
    for name, place in make_bad_places(home).items():
        for words in _lines_of(line, place):
            if not (words[0] == "quickstart" and name == ODD_NAME):  # which is a name all the same, and takes minutes
                _refused(words, capfd)


STREAMS = ({"stdout": "full"}, {"stderr": "closed"}, {"stdout": "closed", "stderr": "full"})
ENDLESS = {"serve", "warm", "quickstart"}
"""Commands that wait for others, or take minutes."""


def _by_streams(line, made, commands, tmp_path):
    """A command's exit codes: as it is, and with streams that take nothing or are not there."""
    for number, streams in enumerate((None, *STREAMS)):
        folder = shutil.copytree(made, tmp_path / str(number))
        code, run = commands.run(*line.replace("@", "").split(), folder=folder, streams=streams)
        said = "" if streams else run.stdout + run.stderr
        assert "Traceback" not in said, said
        yield code


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in LINES if line.split()[0] not in ENDLESS])
def test_every_command_whose_streams_take_nothing_ends_as_ever(trained, made, commands, tmp_path, line):
    usual, full, *others = _by_streams(line, made, commands, tmp_path)
    assert usual in (0, 1, 2, 4)
    assert full in (usual, 4)
    assert others == [usual, usual]
