"""A training that starts while its cache is empty: a service in another process fills it, is killed, and returns."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from served import served
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from training_sets import built, stored

from srcache import RemoteService, SRAugmentedDataset, SRLoader
from srcache.cache.manifest import open_cache
from srcache.images import Pixels
from srcache.recipe.reading import load_recipe

pytestmark = pytest.mark.slow

RECIPE = "engine: test-sleepy\nscale: 2\noptions: {milliseconds: 30}\n"
COUNT, SIDE = 64, 32
TENSORS = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    for number in range(COUNT):
        folder = tmp_path / "photos" / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(16, 16 + 4 * (number % 3), number)).save(folder / f"bild {number}.png")
    (tmp_path / "sleepy.yaml").write_text(RECIPE)
    (tmp_path / "token").write_text("a-token-that-is-long-enough-to-be-good\n")
    (tmp_path / "token").chmod(0o600)
    return tmp_path / "photos"


def serve(home: Path, port: object = 0) -> Any:
    return served(home / "central", home / "sleepy.yaml", port=port, token_file=home / "token")


class Training:
    """A small network, and the epochs that it has seen."""

    def __init__(self, data: SRAugmentedDataset) -> None:
        torch.manual_seed(0)
        self.data, self.epoch, self.losses = data, 0, list[float]()
        self._network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=0.01)

    def run(self, batches: Any, at: int | None = None, act: Callable[[], None] | None = None) -> None:
        """One epoch; `act` is called before the batch number `at`."""
        self.data.set_epoch(self.epoch)
        served = 0
        for number, (images, labels) in enumerate(batches):
            if number == at and act is not None:
                act()
            loss = nn.functional.cross_entropy(self._network(images), labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self.losses.append(float(loss.detach()))
            served += len(images)
        assert served == COUNT
        self.epoch += 1


def loaders(data: SRAugmentedDataset) -> dict[str, Any]:
    """Every kind of loader over one data set."""
    common: dict[str, Any] = {"batch_size": 8, "shuffle": True, "num_workers": 2}
    return {
        "persistent": DataLoader(data, **common, persistent_workers=True, multiprocessing_context="fork"),
        "threads": SRLoader(data, **common),
        "forked": DataLoader(data, **common, multiprocessing_context="fork"),
    }


@pytest.mark.parametrize("kind", ["persistent", "threads", "forked"])
def test_a_training_goes_on_while_its_service_is_killed_and_comes_back(photos: Path, kind: str) -> None:
    home = photos.parent
    with serve(home) as server:
        remote = RemoteService(server.url, token_file=home / "token", fallback="lr", timeout=60, batch=8)
        data = SRAugmentedDataset(
            photos, home / "local", policy="lr=0.5,sr=0.5", size=SIDE, transform=TENSORS, on_miss=remote
        )
        training, batches = Training(data), loaders(data)[kind]
        training.run(batches, at=4, act=server.kill)
    killed = data.counts
    assert killed["fetched"] > 0
    training.run(batches)
    gone = data.counts
    assert gone["missed_to_lr"] > killed["missed_to_lr"]
    assert gone["fetched"] == killed["fetched"], "nothing came while it was gone"
    with serve(home, server.url.rpartition(":")[2]):
        deadline = time.monotonic() + 120
        while _stored(home) < COUNT:
            assert time.monotonic() < deadline, data.counts
            training.run(batches)
    counts = data.counts
    assert counts["fetched"] >= COUNT
    assert counts["sr"] + counts["lr"] == COUNT * training.epoch
    assert all(map(math.isfinite, training.losses))
    recipe = load_recipe(home / "sleepy.yaml")
    reference = stored(built(photos, recipe, into="built"), recipe)
    assert stored(home / "local", recipe) == reference
    assert reference.items() >= stored(home / "central", recipe).items()


def _stored(home: Path) -> int:
    return len(open_cache(home / "local").find().store())


def test_without_a_fallback_a_training_waits_for_a_service_that_restarts(photos: Path) -> None:
    home, later = photos.parent, list[Any]()
    with serve(home) as server:
        remote = RemoteService(server.url, token_file=home / "token", timeout=120)
        data = SRAugmentedDataset(photos, home / "local", policy="sr", size=SIDE, transform=TENSORS, on_miss=remote)
        training = Training(data)

        def restart() -> None:
            server.kill()
            later.append(serve(home, server.url.rpartition(":")[2]))
            later[0].__enter__()

        try:
            training.run(SRLoader(data, batch_size=8, num_workers=2), at=3, act=restart)
        finally:
            later[0].__exit__(None, None, None)
    assert (data.counts["sr"], data.counts["missed_to_lr"]) == (COUNT, 0)
    assert _stored(home) == COUNT


def test_a_cache_is_warmed_while_a_training_reads_it(photos: Path, srcache_run: Callable[..., Any]) -> None:
    home = photos.parent
    with serve(home) as server:
        remote = RemoteService(server.url, token_file=home / "token", fallback="lr")
        data = SRAugmentedDataset(photos, home / "local", policy="sr", size=SIDE, transform=TENSORS, on_miss=remote)
        training = Training(data)
        warm = srcache_run("warm", photos, "--cache", home / "local", "--service", server.url)
        training.run(SRLoader(data, batch_size=8, num_workers=2))
        assert warm.wait(120) == 0
    assert data.counts["missed_to_lr"] == 0
    recipe = load_recipe(home / "sleepy.yaml")
    assert stored(home / "local", recipe) == stored(built(photos, recipe, into="built"), recipe)


@pytest.fixture
def srcache_run(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Start a command line in a process of its own, with the token."""
    monkeypatch.setenv("SRCACHE_TOKEN_FILE", str(photos.parent / "token"))
    started = list[Any]()

    def start(*words: object) -> Any:
        command = [sys.executable, "-P", "-m", "srcache_cli.main", *map(str, words)]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
