"""What all tests share: test engines found through entry points, a private SRCACHE_HOME, and pictures.

The environment is set when this file is imported, not in a fixture, so that spawned workers, subprocesses and
pytest-xdist's workers inherit it. One folder serves a whole run: a worker finds the one that its parent made.
"""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from uuid import uuid4

import forked
import forked_checks
import pytest
from engines import ENTRY_POINTS
from hypothesis import settings
from images import picture
from paths import TESTS
from PIL import Image
from s3_server import ENVIRONMENT, S3Server

from srcache.images import Pixels
from srcache.maintain import check_process

_STARTED = check_process._started
_SHARED = "SRCACHE_TESTS_SHARED"

settings.register_profile("srcache", deadline=None, max_examples=30)
settings.load_profile("srcache")


def _prepare_environment() -> None:
    """Make the test engines a distribution on the path, and keep the user's own cache folder out of the tests."""
    if _SHARED not in os.environ:
        shared = Path(tempfile.mkdtemp(prefix="srcache-tests-"))
        atexit.register(_remove, shared, os.getpid())
        _write_distribution(shared / "engines")
        os.environ[_SHARED] = str(shared)
        os.environ["SRCACHE_HOME"] = str(shared / "home")
        os.environ["HF_HOME"] = str(shared / "hub")
        paths = [str(TESTS / "support"), str(shared / "engines"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    for path in (str(TESTS / "support"), str(Path(os.environ[_SHARED]) / "engines")):
        if path not in sys.path:
            sys.path.append(path)


def _write_distribution(folder: Path) -> None:
    metadata = folder / "srcache_test_engines-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: srcache-test-engines\nVersion: 1\n")
    lines = [f"{name} = {home}" for name, home in ENTRY_POINTS.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[srcache.engines]", *lines, ""]))


def _remove(shared: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(shared, ignore_errors=True)


_prepare_environment()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that collecting loads is garbage, and going through it costs a second each time: it is passed over."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """A folder of this run of the tests, for what all its processes share."""
    return Path(os.environ[_SHARED])


@pytest.fixture(scope="session", autouse=True)
def _programs() -> Iterator[None]:
    """Stores are checked in forked children; the process that is forked (see `forked`) ends with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_process, "_started", forked_checks.from_elsewhere)
        yield
    forked.stop()


@pytest.fixture
def spawned_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores are checked as for a user: by a program that starts from nothing."""
    monkeypatch.setattr(check_process, "_started", _STARTED)


@pytest.fixture(scope="session")
def make_image() -> Callable[..., Pixels]:
    """`picture`, for tests that need single pictures: make_image(height, width, seed=0, mark=None)."""
    return picture


@pytest.fixture(scope="session")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    sizes = [(24, 32), (32, 24), (32, 32), (24, 32)]
    for place, label in enumerate(("bark", "gravel", "moss")):
        (folder / label).mkdir()
        for number, (height, width) in enumerate(sizes):
            name = f"{label}{number}.{'jpg' if number == 3 else 'png'}"
            Image.fromarray(picture(height, width, 10 * place + number)).save(folder / label / name)
    return folder


@pytest.fixture
def photos(_photos: Path, tmp_path: Path) -> Path:
    """A class-folder tree of its own for each test: 3 labels of 4 images, PNG and JPEG, three sizes."""
    return Path(shutil.copytree(_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 service on loopback, in another process; it takes seconds to start."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket, and the environment that leads there."""
    import boto3

    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server.url}.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(params=["s3", "file", "memory"])
def objects_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL below which nothing is: of a service, of a folder, and of this process's memory."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_url')}/inner/place"
    return f"file://{tmp_path}/objects" if request.param == "file" else f"memory://test-{uuid4().hex[:12]}/place"
