"""Loaders side by side: ours and ImageFolder give every image, and rates become rows with bars."""

from dataclasses import replace

import pytest
import torch

from benchmarks import bench_loaders as bench
from benchmarks.bench_loaders import CONTESTS, Contest, LoaderBench, measure
from benchmarks.loader_codecs import codec_rates
from benchmarks.loader_peers import BATCH, PEERS, _needs
from benchmarks.loader_run import consumed, paced, timed, training_step
from benchmarks.record import Bar

MIXTURES = [name for name, peer in PEERS.items() if peer.payload == "mixture"]
OWN = [
    name for name in PEERS if name.startswith(("imagefolder", "dataset", "srloader", "memmap")) and name not in MIXTURES
]


@pytest.mark.medium
@pytest.mark.parametrize("name", OWN)
def test_a_loader_gives_every_image_in_each_epoch(tiny_loader_data, name):
    peer, data = PEERS[name], tiny_loader_data
    if peer.missing():
        pytest.skip(peer.missing())
    peer.write(data)
    epoch = peer.open(data, 2)
    (mean,) = {consumed(epoch(), data)[1] for _ in range(2)}
    assert mean == pytest.approx(data.mean(), abs=2.0 if peer.payload == "jpeg" else 1e-9)
    found = timed(epoch, data, 0)
    assert found["rate"] > 0
    assert found["mean"] == mean
    labels = torch.cat([torch.as_tensor(labels) for _, labels in epoch()])
    assert sorted(labels.tolist()) == sorted(data.label(number) for number in range(data.count))


@pytest.mark.medium
def test_mixtures_are_served_in_the_size_of_sr_and_as_new_ones_in_each_epoch(tiny_loader_data):
    data, means = tiny_loader_data, {}
    for name in MIXTURES:
        PEERS[name].write(data)
        epoch = PEERS[name].open(data, 1)
        means[name] = [consumed(epoch(), data)[1] for _ in range(2)]
    assert means["srloader-sr"] == pytest.approx([data.mean()] * 2, abs=1e-9)
    assert all(len({*means[name]}) == 2 for name in MIXTURES if name != "srloader-sr")
    for name in ("srloader-patch", "srloader-blend"):
        assert means[name] == pytest.approx([data.mean()] * 2, abs=25)


def test_an_epoch_that_lacks_images_or_has_other_ones_is_no_result(tiny_loader_data):
    side, count = tiny_loader_data.side, tiny_loader_data.count
    good = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    assert consumed([(good[:20], 0), (good[20:], 0)], tiny_loader_data) == (count, 0.0)
    with pytest.raises(RuntimeError, match=f"expected {count} images in an epoch, but got {count - 1}"):
        consumed([(good[1:], 0)], tiny_loader_data)
    for wrong in (good.float(), good.permute(0, 2, 3, 1)):
        with pytest.raises(RuntimeError, match="expected uint8"):
            consumed([(wrong, 0)], tiny_loader_data)


def test_steps_on_an_epoch_are_compared_with_as_many_on_one_batch(tiny_loader_data, monkeypatch):
    steps, data = [], replace(tiny_loader_data, count=2 * BATCH + 5)
    monkeypatch.setattr("benchmarks.loader_run.time.perf_counter", lambda: float(len(steps)))
    images = [
        torch.full((number, 3, 32, 32), place, dtype=torch.uint8) for place, number in enumerate((5, BATCH, BATCH))
    ]
    found = paced(
        lambda: [(batch, 0) for batch in images], data, 4, lambda batch, _: steps.append(int(batch[0, 0, 0, 0]))
    )
    assert found == {"fed": 4.0, "alone": 4.0}
    assert steps == [1, *[1, 2, 1, 1] * 2]
    with pytest.raises(RuntimeError, match="at least 64 images"):
        paced(lambda: [(images[0], 0)], data, 4, lambda *_: None)


@pytest.mark.usefixtures("one_thread")
def test_a_training_step_changes_the_network():
    torch.manual_seed(0)
    step = training_step("cpu")
    images, labels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.arange(4)
    losses = [step(images, labels) for _ in range(3)]
    assert losses[2] < losses[0]


def test_the_codecs_of_both_kinds_of_store_have_rates(tiny_loader_data):
    bars = codec_rates(tiny_loader_data, 2)
    assert {bar.case for bar in bars} >= {
        f"32², codec: {codec}, {act}" for codec in ("qoi", "png:1", "jpeg:95") for act in ("encode", "decode")
    }
    assert all(bar.value > 0 and bar.unit == "images/s" for bar in bars)


def test_a_contest_is_against_the_faster_of_those_that_took_part():
    contest = Contest(ours="srloader-jpeg", others=("ffcv-jpeg", "spdl-jpeg"), least={224: 1.0})
    rates = {"srloader-jpeg": [10.0, 30.0, 22.0], "ffcv-jpeg": [10.0, 20.0, 20.0], "spdl-jpeg": [50.0, 1.0, 1.0]}
    (bar,) = bench._contest(contest, 224, rates)
    assert (bar.value, bar.least, bar.met, bar.unit) == (1.1, 1.0, True, "×")
    assert (bar.spread, bar.peer) == (0.25, "FFCV")
    assert bar.case == "224², jpeg: SRLoader, times FFCV or SPDL"
    del rates["ffcv-jpeg"]
    (bar,) = bench._contest(contest, 512, rates)
    assert (bar.value, bar.least, bar.peer) == (22.0, None, "SPDL")
    assert bench._contest(contest, 224, {"srloader-jpeg": [1.0]}) == []
    assert bench._contest(contest, 224, {"ffcv-jpeg": [1.0]}) == []


def test_contests_are_of_loaders_with_the_same_payload():
    for contest in CONTESTS:
        ours = PEERS[contest.ours]
        assert {PEERS[name].payload for name in contest.others} == {ours.payload}


def test_a_loader_that_gives_other_images_is_no_result(tiny_loader_data, monkeypatch):
    monkeypatch.setattr(bench, "_process", lambda *_: {"rate": 5.0, "mean": 101.0})
    assert bench._rate(PEERS["hf"], tiny_loader_data, 1, 100.0) == 5.0
    with pytest.raises(RuntimeError, match="memmap gives other images"):
        bench._rate(PEERS["memmap"], tiny_loader_data, 1, 100.0)


@pytest.mark.slow
def test_a_run_has_a_row_per_loader_and_one_per_contest(loader_photos, tmp_path, capsys):
    names = ("imagefolder-jpeg", "dataset-jpeg")
    bars = measure(LoaderBench(work=tmp_path, counts={32: 70}, peers=names, seconds=0.01, repeats=1))
    titles = [PEERS[name].title for name in names]
    assert [bar.case for bar in bars[:2]] == [
        f"32², {PEERS[name].payload}: {title}" for name, title in zip(names, titles, strict=True)
    ]
    assert all(bar.value > 0 and bar.unit == "images/s" for bar in bars[:2])
    ratio = bars[2]
    assert ratio.value == pytest.approx(bars[1].value / bars[0].value)


def test_what_is_missing_is_said_and_left_out(monkeypatch, capsys):
    lacking = replace(PEERS["hf"], missing=_needs("import no_such_library"))
    monkeypatch.setitem(PEERS, "hf", lacking)
    assert [peer.name for peer in bench._present(["memmap", "hf"])] == ["memmap"]
    assert capsys.readouterr().out == "     without hf (ModuleNotFoundError: No module named 'no_such_library')\n"
    assert _needs("import json")() == ""


def test_the_command_measures_size_by_size_and_appends_nothing_to_a_dry_run(tmp_path, monkeypatch, capsys):
    measured = []
    monkeypatch.setattr(
        bench, "measure", lambda given: measured.append(given) or [Bar(case="a", value=1.0, unit="×", least=2.0)]
    )
    monkeypatch.setattr(bench, "append", lambda *_: pytest.fail("a dry run appends nothing"))
    words = ["bench_loaders", "--work", str(tmp_path), "--peers", "memmap", "--repeats", "3", "--dry"]
    monkeypatch.setattr("sys.argv", words)
    assert bench.main() == 1
    assert [(dict(given.counts), given.peers, given.repeats) for given in measured] == [
        ({224: 4000}, ["memmap"], 3),
        ({512: 2000}, ["memmap"], 3),
    ]
