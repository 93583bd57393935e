"""What is said where a process that reads images ended."""

import subprocess
import sys

import pytest
from torchvision.datasets import ImageFolder
from training_sets import PLAIN, built

from srcache.dataset import worker_deaths
from srcache.dataset.augmented import SRAugmentedDataset

LOOP = """
import os, signal, sys
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from srcache import SRAugmentedDataset

data = SRAugmentedDataset(ImageFolder(sys.argv[1]), sys.argv[2], policy="sr", size="mixed")

def die(batch):
    os.kill(os.getpid(), signal.SIGBUS)

if __name__ == "__main__":
    for batch in DataLoader(data, 2, num_workers=1, collate_fn=die):
        pass
"""


class Reader:
    """Something that reads a cache."""


def test_only_caches_in_use_are_named():
    before = worker_deaths.advice()
    reader, other = Reader(), Reader()
    worker_deaths.watch(reader, "caches/flowers/resample-1")
    worker_deaths.watch(other, "caches/birds/resample-1")
    assert "caches/birds/resample-1" in worker_deaths.advice()
    assert "`srcache verify`" in worker_deaths.advice()
    del reader, other
    assert worker_deaths.advice() == before


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "), True),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("DataLoader worker"), False),
    ],
)
def test_the_end_of_a_worker_is_known_by_what_torch_says(error, is_one):
    assert worker_deaths.is_worker_death(error) is is_one


@pytest.mark.slow
def test_a_users_own_loop_ends_with_the_names_of_the_caches(photos, tmp_path):
    script, cache = tmp_path / "loop.py", built(photos, PLAIN)
    script.write_text(LOOP)
    ended = subprocess.run([sys.executable, script, photos, cache], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "DataLoader worker" in ended.stderr
    assert "srcache: a process that read from" in ended.stderr
    assert str(cache) in ended.stderr.splitlines()[-1]


def test_every_cache_that_a_data_set_reads_is_watched(photos):
    data = SRAugmentedDataset(ImageFolder(photos), cache := built(photos, PLAIN), policy="sr")
    assert str(cache) in worker_deaths.advice()
    assert len(data)
