"""What the tests of all commands share: a way to run them, and a cache, images and a training that are made once."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_lines import Printed, recipe_words
from srcache_cli.main import run
from train_study import make_stripes


@pytest.fixture
def srcache(capfd: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    """Run a command line: `srcache("info", cache)`. No command may ever print a traceback."""

    def call(*words: object) -> Printed:
        capfd.readouterr()
        printed = Printed(run([str(word) for word in words]), *capfd.readouterr())
        assert "Traceback" not in printed.err + printed.out
        return printed

    return call


@pytest.fixture
def refuse(srcache: Callable[..., Printed]) -> Callable[[str, str], None]:
    """Run a line with a mistake: exit code 2, nothing on stdout, no file written, and a message that contains this."""

    def check(line: str, message: str) -> None:
        before = sorted(Path().rglob("*"))
        printed = srcache(*line.split())
        assert (printed.code, printed.out) == (2, "")
        assert message in " ".join(printed.err.split())
        assert re.search(r"^srcache: ", printed.err, re.MULTILINE)
        assert sorted(Path().rglob("*")) == before

    return check


@pytest.fixture(scope="session")
def _small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "photos/größe 1").mkdir(parents=True)
    for number, (height, width) in enumerate([(6, 8), (8, 6), (6, 8)]):
        pixels = (np.arange(height * width * 3) * (7 + number) % 251).astype(np.uint8)
        name = home / "photos/größe 1" / f"bild {number}.ppm"
        name.write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes())
    (home / "photos/größe 1/leer.png").touch()
    (home / "one/größe 1").mkdir(parents=True)
    shutil.copy(home / "photos/größe 1/bild 0.ppm", home / "one/größe 1")
    assert run(["build", str(home / "photos"), "--cache", str(home / "cache"), *recipe_words("bicubic")]) == 1
    assert run(["build", str(home / "one"), "--cache", str(home / "cache"), *recipe_words("lanczos")]) == 0
    return home


@pytest.fixture
def home(_small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: photos whose bytes are the same everywhere, and a cache of them, new for each test.

    photos/größe 1      three images and an empty file
    one/größe 1         the first of these images
    cache               `bicubic` ×2 of all photos, `lanczos` ×2 of the one
    """
    shutil.copytree(_small_cache, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `train_study.make_stripes`. Do not change it."""
    return make_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="session")
def _run_on_lr(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    settings = [word for one in ("size=16", "epochs=1", "network=small:4") for word in ("--set", one)]
    words = ["--lr", str(stripes / "lr/train"), "--arm", "lr", "--validation", "0.3", "--out", str(out)]
    assert run(["train", *words, *settings]) == 0
    return out


@pytest.fixture
def run_on_lr(_run_on_lr: Path, tmp_path: Path) -> Path:
    """A copy of a run that was trained on the LR images of `stripes`."""
    return Path(shutil.copytree(_run_on_lr, tmp_path / "run"))


@pytest.fixture
def broken_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an installed engine that does not load."""
    folder = tmp_path / "site/strange-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[srcache.engines]\nstrange = strange_module:Engine\n")
    (tmp_path / "site/strange_module.py").write_text("raise OSError('libstrange.so is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "strange"
