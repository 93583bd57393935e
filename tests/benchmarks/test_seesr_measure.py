"""Instruments for the benchmarks of SeeSR: timed stages leave the engine as it was."""

import pytest

from benchmarks import seesr_gpu, seesr_measure
from benchmarks.seesr_gpu import Shape


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


def test_a_stage_s_error_leaves_the_engine_as_it_was_too(tiny_run):
    runner = seesr_gpu.CaseRunner(tiny_run, Shape(steps=1))
    pipeline, before = runner.engine._pipeline, runner.engine._pipeline.networks

    def fail():
        raise RuntimeError("no image")

    with pytest.raises(RuntimeError, match="no image"):
        seesr_measure.stages(runner.engine, fail, tiny_run.device)
    assert pipeline.networks is before
    assert "sample" not in vars(pipeline.sampler)
