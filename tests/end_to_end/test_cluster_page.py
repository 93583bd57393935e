"""The files for clusters and their page, run as plain shell loops: together their jobs make what one build makes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import paths
import pytest
import yaml
from commands import stored
from fills import write

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.maintain.info import info
from srcache.maintain.verify import verify
from srcache.recipe.reading import load_recipe

HOME = paths.ROOT / "configs/cluster"
SBATCH, JOB = HOME / "slurm.sbatch", HOME / "kubernetes.yaml"

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def alone(tmp_path_factory, make_image):
    """A folder with `photos`, and what one build makes of them."""
    home = tmp_path_factory.mktemp("alone")
    for seed, label in ((0, "bark"), (100, "moss")):
        write(
            home / "photos" / label,
            12,
            lambda _: (12, 16),
            make=lambda h, w, n, _, seed=seed: make_image(h, w, n + seed),
        )
    settings = FillSettings(device="cpu", store="shards")
    assert fill(scan(home / "photos"), load_recipe("compact"), home / "cache", settings).left == 0
    return home / "photos", stored(home / "cache")


@pytest.fixture
def shell(alone, tmp_path):
    """Start a program in a folder with `photos`, where `srcache` is a command; all that were started are awaited."""
    photos, _ = alone
    (tmp_path / "photos").symlink_to(photos)
    command = tmp_path / "bin/srcache"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m srcache_cli.main "$@"\n')
    command.chmod(0o755)

    def start(*words, **environment):
        path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        pipe, environment = subprocess.PIPE, {**os.environ, "PATH": path, **environment}
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def finished(runs):
    """The outputs of programs that must succeed."""
    outputs = [(run.communicate(timeout=600), run.returncode) for run in runs]
    assert [code for _, code in outputs] == [0] * len(runs), outputs
    return [out for (out, _), _ in outputs]


def blocks():
    """The commands of the page."""
    return re.findall(r"```sh\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def check(cache: Path, alone, jobs: int) -> None:
    """A cache that jobs have filled holds the bytes that one build made, each once, and says that it has all."""
    photos, entries = alone
    assert stored(cache) == entries
    checked = verify(cache)
    assert (checked.findings, checked.absent, checked.repeated) == ((), 0, 0)
    receipts = open_cache(cache).find("compact").receipts()
    assert sorted(receipt["part"] for receipt in receipts) == [f"{index}/{jobs}" for index in range(jobs)]
    assert sum(receipt["added"] for receipt in receipts) == len(entries) == 24
    (told,) = info(cache).recipes[0].catalogs
    assert (told.digest, told.covered, told.missing_parts) == (scan(photos).digest, 24, ())


@pytest.mark.slow
def test_the_slurm_array_fills_the_cache(shell, alone, tmp_path):
    text = SBATCH.read_text(encoding="utf-8")
    first, last = map(int, re.search(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.MULTILINE).groups())
    (parts,) = map(int, re.findall(r"^parts=(\d+)", text, re.MULTILINE))
    assert (first, last) == (0, parts - 1)
    finished([shell("bash", "-c", blocks()[0])])
    jobs = [shell("bash", str(SBATCH), SLURM_ARRAY_TASK_ID=str(index)) for index in range(parts)]
    assert all(f"of {parts}: its share of 24 images" in out for out in finished(jobs))
    check(tmp_path / "cache", alone, parts)


@pytest.mark.slow
def test_the_indexed_job_fills_the_cache(shell, alone, tmp_path):
    job = yaml.safe_load(JOB.read_text(encoding="utf-8"))
    spec, (container,) = job["spec"], job["spec"]["template"]["spec"]["containers"]
    parts = spec["completions"]
    assert (job["kind"], spec["completionMode"], spec["parallelism"]) == ("Job", "Indexed", parts)
    assert f'$JOB_COMPLETION_INDEX/{parts}"' in container["command"][-1]
    assert container["workingDir"] == container["volumeMounts"][0]["mountPath"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "a policy for failures of pods asks for that"
    finished([shell("bash", "-c", blocks()[0])])
    finished([shell(*container["command"], JOB_COMPLETION_INDEX=str(index)) for index in range(parts)])
    check(tmp_path / "cache", alone, parts)


def test_the_page_s_commands_fill_the_cache(shell, alone, tmp_path):
    assert len(blocks()) == 3
    (said,) = finished([shell("bash", "-ec", "\n".join(blocks()))])
    check(tmp_path / "cache", alone, 2)
    assert "covers   all 24 images of catalog" in said
    assert "no damage found" in said
