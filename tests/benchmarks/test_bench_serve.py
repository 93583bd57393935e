"""The service's benchmark: every case runs, small, and judges what it found by its bars."""

import subprocess
import sys

import paths
import pytest

from benchmarks import bench_serve as bench
from benchmarks import serve_peers
from benchmarks.record import HISTORY


@pytest.mark.slow
def test_every_case_runs_without_a_wrong_answer(monkeypatch, capsys):
    monkeypatch.setattr(bench, "WARM", 0.5)
    monkeypatch.setattr(bench, "HIT_SECONDS", 0.5)
    monkeypatch.setattr(bench, "SAME", 40)
    before = HISTORY.read_bytes()
    monkeypatch.setattr(
        sys,
        "argv",
        ["bench_serve", "--dry", "--seconds", "2", "--repeats", "1", "--cases", "sustained", "hits", "once"],
    )
    assert bench.main() in (0, 1), "whether bars are met depends on what else the machine does"
    shown = capsys.readouterr().out
    assert HISTORY.read_bytes() == before
    assert "ok   64 clients, 64²→256², 2 s: answers lost or wrong: 0" in shown
    assert "ok   40 images, each asked for by 32 clients at once: answers lost or wrong: 0" in shown
    assert "ok   40 images, each asked for by 32 clients at once: computed, padding apart: 40" in shown
    assert "hits of 102 kB, 8 clients, times a bare Starlette handler's" in shown


@pytest.mark.slow
def test_litserve_answers_with_the_same_bytes(tmp_path):
    pytest.importorskip("litserve")
    bench.install()
    work = bench.ServeBench(root=tmp_path)
    images = work.images(bench.SIDE, 8)
    with bench.litserve_server(work.recipe_file, bench.BATCH, bench.DEADLINE) as server:
        load = work.ask(server.port, bench.Plan(clients=4, seconds=60), bench.posts(images, "/v1/sr"))
    assert (load.right, load.wrong, load.lost) == (8, 0, 0), load.problems


def test_a_peer_is_compared_round_by_round():
    plain, ratio = bench._beside("case", "x", [(90.0, 100.0), (50.0, 40.0), (80.0, 100.0)], "peer", 0.8, None)
    assert (plain.value, plain.peer_value) == (80, 100)
    assert (ratio.value, ratio.met) == (0.9, True)
    assert not bench._beside("case", "x", [(70.0, 100.0)], "peer", 0.8, None)[1].met
    assert not bench._beside("case", "ms", [(110.0, 100.0)], "peer", None, 1.0)[1].met


def test_a_server_that_does_not_start_says_why():
    server = serve_peers._running(["-m", "benchmarks.nothing"], serve_peers._free_port(), "/")
    with pytest.raises(RuntimeError, match=r"did not start[\s\S]*No module named benchmarks\.nothing"), server:
        pass


def test_the_client_loads_no_library_that_costs_memory():
    code = "import sys, benchmarks.serve_load; print(sorted({'torch', 'numpy', 'srcache'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=paths.ROOT)
    assert done.stdout.strip() == "[]"
