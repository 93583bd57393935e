import csv

import pytest
import torch

from benchmarks import bench_seesr as bench
from benchmarks import seesr_cpu, seesr_gpu, seesr_measure
from benchmarks.record import Bar, append
from benchmarks.seesr_gpu import RunSettings, Shape

SLOW = pytest.mark.slow
TINY = RunSettings(device=torch.device("cpu"), repeats=1, tiny=True, precision="fp32")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def command(tmp_path):
    history = tmp_path / "history.csv"

    def run(*words, commit="abc"):
        given = ["--device", "cpu", "--tiny", "--repeats", "1", "--history", str(history), "--commit", commit]
        return bench.main([*given, "--out", str(tmp_path / "out"), *words])

    run.rows = lambda: list(csv.DictReader(history.read_text().splitlines())) if history.exists() else []
    run.out = tmp_path / "out"
    return run


@SLOW
def test_a_case_is_measured_recorded_and_not_measured_twice(command, capsys):
    assert command("--case", "batch1-graph") == 0
    rows, shown = command.rows(), capsys.readouterr().out
    assert {row["bench"] for row in rows} == {"seesr"}
    assert {row["commit"] for row in rows} == {"abc"}
    wanted = ["time per image", "first call", *seesr_gpu.STAGES, "predicted memory", "rate of the steps"]
    assert [name for name in wanted if not any(name in row["case"] for row in rows)] == []
    assert [name for name in wanted if name not in shown] == []
    (each,) = (row for row in rows if row["case"].endswith("time per image"))
    assert float(each["value"]) > 0
    assert float(each["peer_value"]) > 0
    assert each["bar"] == "", "bars are for one kind of GPU"
    assert command("--case", "batch1-graph") == 0
    assert len(command.rows()) == len(rows)
    assert "recorded already" in capsys.readouterr().out


def provenance_of(command, commit):
    given = bench._parser().parse_args(["--history", str(command.out.parent / "history.csv"), "--commit", commit])
    provenance = bench._provenance(given, TINY.device)
    append("seesr", [Bar(case="predicted: weights", value=1, unit="GB")], 1, provenance)
    return provenance


def test_uncommitted_changes_are_measured_again(command):
    provenance = provenance_of(command, "abc+")
    assert command.rows()
    assert not bench.is_recorded("predicted", provenance)


def test_what_is_recorded_is_a_case_of_a_commit_on_a_machine(command):
    here = provenance_of(command, "abc")
    assert bench.is_recorded("predicted", here)
    assert not bench.is_recorded("predict", here)
    assert not bench.is_recorded("predicted", bench.replace(here, machine="another"))
    assert not bench.is_recorded("predicted", bench.replace(here, commit="other"))


def test_small_networks_leave_no_row_in_the_history():
    given = bench._parser().parse_args(["--tiny", "--case", "predicted"])
    assert bench._provenance(given, TINY.device) is None


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=SLOW) for name in ("profile", "tiles", "large", "turbo-batch16")]
)
def test_what_a_gpu_is_to_run_runs(case, command, capsys):
    assert command("--case", case, "--dry") == 0
    assert f"| {case}: " in capsys.readouterr().out
    assert command.rows() == []
    assert (command.out / "profile.md").exists() == (case == "profile")


@SLOW
def test_the_first_image_of_a_fresh_process(command):
    assert command("--case", "first-image") == 0
    assert any("whole process" in row["case"] for row in command.rows())


def test_both_ways_predict_the_same(capsys):
    _, agreement = seesr_cpu.step(TINY, "cpu-step")
    assert agreement.met
    assert 0 < agreement.value < 1e-4, "not one way twice"


@SLOW
def test_what_is_saved_adds_up():
    step, complete, *shares = seesr_cpu.savings(TINY, "savings")
    assert sum(bar.value for bar in shares) == pytest.approx(100 * (1 - step.ratio))
    assert all(bar.value > 0 for bar in shares)
    assert 50 * step.value < complete.value < 51 * step.value + complete.value / 10


def test_two_networks_for_every_pixel_are_the_same_in_every_precision():
    torch.manual_seed(3)
    exact = seesr_gpu.full.denoisers(seesr_gpu.full.tiny(), seesr_gpu.full.placement("cpu", "fp32")).unet.state_dict()
    torch.manual_seed(3)
    half = seesr_gpu.full.denoisers(seesr_gpu.full.tiny(), seesr_gpu.full.placement("cpu", "fp16")).unet.state_dict()
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in exact.items())


def test_bars_hold_on_one_kind_of_gpu_only(monkeypatch):
    run = RunSettings(device=torch.device("cuda"), repeats=1)
    for name, wanted in (("NVIDIA H100 80GB HBM3", 0.4), ("NVIDIA H200", 0.4), ("NVIDIA A100-SXM4-80GB", None)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert run.limit(0.4) == wanted
    assert TINY.limit(0.4) is None


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("void pytorch_flash::flash_fwd_kernel<...>", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_nhwc", "convolution"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "matrix product"),
        ("sm80_xmma_gemm_f16f16_f16f32_tn", "matrix product"),
        ("void at::native::RowwiseMomentsCUDAKernel<c10::Half>", "norm"),
        ("triton_red_fused_native_group_norm_5", "norm"),
        ("Memcpy DtoD (Device -> Device)", "copy"),
        ("void at::native::vectorized_elementwise_kernel<4, silu>", "pointwise"),
        ("something", "other"),
    ],
)
def test_kernels_have_classes(kernel, kind):
    assert seesr_gpu.kind_of(kernel) == kind


def test_the_time_in_which_a_kernel_runs_counts_overlaps_once():
    assert seesr_gpu.share_busy([("a", 0.0, 10.0), ("b", 5.0, 12.0), ("c", 18.0, 20.0)]) == pytest.approx(0.7)
    assert seesr_gpu.share_busy([("a", 5.0, 6.0)]) == 1


def test_stage_timers_leave_the_engine_as_it_was():
    runner = seesr_gpu.CaseRunner(TINY, Shape(steps=1))
    pipeline = runner.engine._pipeline
    before = pipeline.networks
    spent = seesr_measure.stages(runner.engine, runner.call, TINY.device)
    assert set(spent) >= {*seesr_gpu.STAGES} - {"load"}
    assert sum(spent[stage] for stage in seesr_gpu.STAGES if stage != "load") == pytest.approx(spent["all"])
    assert pipeline.networks is before
    assert "sample" not in vars(pipeline.sampler)
    assert not {"encode", "decode"} & {*vars(before.vae), *vars(before.text)}
    loop = seesr_measure.last_sample(runner.engine, runner.call)
    assert loop().shape == (1, 4, 8, 8)


def test_a_table_says_what_was_missed():
    shown = bench.table([Bar(case="a", value=2, unit="s", bar=1, peer="b", peer_value=4)])
    assert "| a | 2 s | 1 **missed** | b: 4 s | 0.5 |" in shown


def test_an_upscaled_image_that_fails_stops_the_measuring(monkeypatch):
    runner = seesr_gpu.CaseRunner(TINY, Shape(steps=1))
    decode = runner.networks.vae.decode
    monkeypatch.setattr(runner.networks.vae, "decode", lambda latents: decode(latents) * float("nan"))
    with pytest.raises(RuntimeError, match="not_finite"):
        runner.call()
