"""SeeSR's cases for a GPU: where their bars apply, classes of kernels, and an image that fails."""

import pytest
import torch

from benchmarks import seesr_gpu
from benchmarks.seesr_gpu import RunSettings, Shape


def test_bars_hold_on_one_kind_of_gpu_only(tiny_run, monkeypatch):
    run = RunSettings(device=torch.device("cuda"), repeats=1)
    for name, wanted in (("NVIDIA H100 80GB HBM3", 0.4), ("NVIDIA H200", 0.4), ("NVIDIA A100-SXM4-80GB", None)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert run.limit(0.4) == wanted
    assert tiny_run.limit(0.4) is None


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


def test_an_upscaled_image_that_fails_stops_the_measuring(tiny_run, monkeypatch):
    runner = seesr_gpu.CaseRunner(tiny_run, Shape(steps=1))
    decode = runner.networks.vae.decode
    monkeypatch.setattr(runner.networks.vae, "decode", lambda latents: decode(latents) * float("nan"))
    with pytest.raises(RuntimeError, match="not_finite"):
        runner.call()
