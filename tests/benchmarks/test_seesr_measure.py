"""Instruments for the benchmarks of SeeSR: timed stages leave the engine as it was."""

import time

import pytest
import torch

from benchmarks import seesr_full, seesr_gpu, seesr_measure
from benchmarks.seesr_gpu import Shape


@pytest.mark.slow
def test_stage_timers_leave_the_engine_as_it_was(tiny_run):
    runner = seesr_gpu.CaseRunner(tiny_run, Shape(steps=1))
    pipeline = runner.engine._pipeline
    before = pipeline.networks
    spent = seesr_measure.stages(runner.engine, runner.call, tiny_run.device)
    assert set(spent) >= {*seesr_gpu.STAGES} - {"load"}
    assert sum(spent[stage] for stage in seesr_gpu.STAGES if stage != "load") == pytest.approx(spent["all"])
    assert pipeline.networks is before
    assert "sample" not in vars(pipeline.sampler)
    assert not {"encode", "decode"} & {*vars(before.vae), *vars(before.text)}
    loop = seesr_measure.last_sample(runner.engine, runner.call)
    assert loop().shape == (1, 4, 8, 8)


@pytest.mark.slow
def test_a_stage_s_error_leaves_the_engine_as_it_was_too(tiny_run):
    runner = seesr_gpu.CaseRunner(tiny_run, Shape(steps=1))
    pipeline, before = runner.engine._pipeline, runner.engine._pipeline.networks

    def fail():
        raise RuntimeError("no image")

    with pytest.raises(RuntimeError, match="no image"):
        seesr_measure.stages(runner.engine, fail, tiny_run.device)
    assert pipeline.networks is before
    assert "sample" not in vars(pipeline.sampler)


def test_time_in_which_something_ran_counts_once():
    assert seesr_measure.seconds_busy([]) == 0
    spans = [("b", 4e6, 6e6), ("a", 0.0, 2e6), ("c", 1e6, 3e6), ("within", 1e6, 2e6)]
    assert seesr_measure.seconds_busy(spans) == pytest.approx(5)


def test_what_waits_is_the_whole_call_s_time_less_what_ran(tiny_run):
    def act():
        torch.mm(torch.ones(64, 64), torch.ones(64, 64))
        time.sleep(0.05)

    spans = seesr_measure.spans_of(act, tiny_run.device)
    assert any(name == "aten::mm" for name, _, _ in spans)
    assert all(end > start for _, start, end in spans)
    assert 50 < seesr_measure.share_waited(act, tiny_run.device) <= 100
    assert seesr_measure.share_waited(act, tiny_run.device, wall=1e-9) == 0


@pytest.mark.slow
def test_a_whole_call_is_watched_on_images_prepared_beforehand(tiny_run, monkeypatch):
    runner = seesr_gpu.CaseRunner(tiny_run, Shape(steps=1))
    images = runner.images()
    monkeypatch.setattr(runner, "images", lambda: pytest.fail("made within the call"))
    assert seesr_measure.share_waited(lambda: runner.call(images), tiny_run.device) < 100


def test_a_tagger_of_random_weights_tells_as_many_tags_as_a_real_one(tiny_run):
    tagger = seesr_full.tagger(tiny_run.sizes, tiny_run.placement)
    tags, _ = tagger(torch.rand(2, 3, 16, 16))
    most = min(seesr_full.TAGS, len(tiny_run.sizes.tags[0]))
    assert [len(each.split(", ")) for each in tags] == [most] * 2
