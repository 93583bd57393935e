"""pyiqa's metrics: refused in words before pyiqa is imported, and measured with the luma that was meant.

No weights lie on a machine that runs these tests. NIQE is run for real with parameters fitted here; all others are
asked for, and refused in words. What needs pyiqa is skipped without it; it is imported once.
"""

import hashlib
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from images import picture
from PIL import Image, ImageFilter

from srcache.errors import ConfigError, ImageError, MachineError, MissingExtraError, WeightsError
from srcache.images import Pixels, resize
from srcache.recipe.degradation import Degradation
from srcache.study.quality import pyiqa_metrics
from srcache.study.quality.psnr_ssim import Convention, luma, measure_image
from srcache.study.quality.pyiqa_metrics import known_metrics, open_scorer, require_metric
from srcache.study.quality.pyiqa_weights import WEIGHTS

pytestmark = pytest.mark.usefixtures("no_weights")
needs_pyiqa = pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa (extra iqa) is not installed")


def photo(name: str, side: int = 288) -> Pixels:
    """The middle of one of scikit-image's photos."""
    data = pytest.importorskip("skimage.data")
    rgb = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
    top, left = ((size - side) // 2 for size in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


@pytest.mark.parametrize("name", ["arniqa", "clipiqa", "fid_dinov2", "qalign", "liqe"])
def test_metrics_that_run_code_are_refused_unless_it_is_allowed(known_names, name):
    with pytest.raises(
        WeightsError, match=r"code that comes with its weights .* only with `srcache eval images --allow-code`"
    ):
        require_metric(name)
    if name not in WEIGHTS:
        require_metric(name, allow_code=True)


def test_unknown_and_unfit_metrics_are_mistakes(known_names):
    with pytest.raises(
        ConfigError, match=r"'lpipps' \(did you mean lpips .*\?\); pyiqa .* has: .*lpips, lpips\+"
    ):
        require_metric("lpipps")
    with pytest.raises(ConfigError, match="compares images with captions"):
        require_metric("clipscore")


def test_without_pyiqa_the_extra_and_its_licence_are_named(monkeypatch):
    monkeypatch.setattr(pyiqa_metrics, "find_spec", lambda _: None)
    known_metrics.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pyiqa \(PolyForm Noncommercial.*pip install '\.\[iqa\]'"):
        require_metric("lpips")


@pytest.mark.medium
@needs_pyiqa
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stlpips", r"alex_shift_tolerant\.pth, which is not in .*torch/hub/pyiqa; .*\n  curl -fL"),
        ("deepdc", r"vgg19-dcbb9e9d\.pth, which is not in .*torch/hub/checkpoints; .*\n  curl -fL"),
        ("hyperiqa", r'neither in .*torch/hub nor in .*hf/hub; .*create_metric\("hyperiqa"\)'),
        ("fgresq", r"neither in .*torch/hub nor in .*hf/hub"),
        ("pyiqa:stlpips", r"alex_shift_tolerant\.pth, which is not in"),
    ],
)
def test_metrics_that_are_not_in_the_table_say_what_they_miss(name, words):
    with pytest.raises(WeightsError, match=words) as caught:
        open_scorer(name, device="cpu")
    assert str(caught.value).startswith(name)


@needs_pyiqa
def test_a_package_that_is_missing_is_named(monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError("No module named 'pkg_resources'", name="pkg_resources")

    pyiqa = pytest.importorskip("pyiqa")
    monkeypatch.setattr(pyiqa, "create_metric", fail)
    with pytest.raises(MachineError, match=r"the package pkg_resources, .*; run: pip install 'setuptools<81'"):
        open_scorer("ms_ssim", device="cpu")


@needs_pyiqa
def test_plain_weights_are_loaded_and_their_digest_is_recorded(no_weights):
    import torch

    file = no_weights / "torch/hub/pyiqa/brisque_svm_weights.pth"
    file.parent.mkdir(parents=True)
    torch.save((torch.ones(1, 4), torch.rand(4, 36)), file)
    convention = open_scorer("brisque", device="cpu").convention
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert convention["weights"] == [{"file": "brisque_svm_weights.pth", "sha256": digest}]


@pytest.mark.medium
@needs_pyiqa
def test_the_luma_is_the_papers_unless_pyiqas_own_is_asked_for(capfd):
    """Astronaut, 512 px, bicubic down and up by 4: the values that were measured with pyiqa 0.1.16."""
    clean = photo("astronaut", 512)
    blurred = resize(Degradation(factor=4).apply(clean), (512, 512), "bicubic")
    names = ("psnry", "pyiqa:psnry", "pyiqa:psnr", "pyiqa:ssim", "ms_ssim")
    found = {name: open_scorer(name, device="cpu") for name in names}
    values = {name: scorer.score(blurred, clean) for name, scorer in found.items()}
    assert values["psnry"] == pytest.approx(26.88046, abs=2e-4)
    assert values["pyiqa:psnry"] == pytest.approx(25.5585, abs=1e-3)
    assert values["psnry"] - values["pyiqa:psnry"] == pytest.approx(20 * math.log10(255 / 219), abs=0.01)
    assert values["pyiqa:psnr"] == pytest.approx(measure_image(blurred, clean, Convention()).psnr, abs=1e-3)
    assert values["pyiqa:ssim"] == pytest.approx(0.82814, abs=1e-4)
    assert found["psnry"].convention["channel"] == "ycbcr"
    assert found["pyiqa:psnry"].convention["channel"] == "yiq"
    assert "Y (BT.601, 16–235), range 1, pyiqa" in found["psnry"].text
    assert "PolyForm Noncommercial 1.0.0" in found["ms_ssim"].text
    assert found["psnry"].score(clean, clean) == math.inf
    assert found["pyiqa:psnry"].score(clean, clean) == pytest.approx(80)
    assert found["ms_ssim"].score(clean, clean) == pytest.approx(1)
    assert capfd.readouterr().out == "", "pyiqa prints, but not into our documents"


@pytest.mark.medium
@needs_pyiqa
def test_psnr_agrees_with_torchmetrics():
    image = pytest.importorskip("torchmetrics.functional.image")
    import torch

    clean = picture(40, 48, 1)
    dirty = resize(resize(clean, (20, 24), "box"), (40, 48), "bicubic")
    left, right = (torch.from_numpy(luma(rgb[3:-3, 3:-3]).astype(np.float64)) for rgb in (dirty, clean))
    wanted = float(image.peak_signal_noise_ratio(left, right, data_range=255.0))
    assert measure_image(dirty, clean, Convention(channel="y", crop_border=3)).psnr == pytest.approx(wanted, abs=1e-5)


@pytest.mark.medium
@needs_pyiqa
def test_an_image_that_is_too_small_is_reported():
    with pytest.raises(ImageError, match="ms_ssim cannot measure it") as caught:
        open_scorer("ms_ssim", device="cpu").score(picture(16, 16), picture(16, 16))
    assert caught.value.reason == "metric_failed"


def _write_parameters(no_weights: Path, mean: np.ndarray, covariance: np.ndarray) -> Path:
    from scipy.io import savemat

    file = no_weights / "torch/hub/pyiqa/niqe_modelparameters.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"mu_prisparam": mean[None], "cov_prisparam": covariance})
    return file


def _fit(no_weights: Path, monkeypatch, names: tuple[str, ...]) -> Path:
    """Parameters of a few sharp photos: mean and covariance of the features that pyiqa takes of their blocks."""
    _write_parameters(no_weights, np.zeros(36), np.eye(36))
    scorer = open_scorer("niqe", device="cpu")
    from pyiqa.archs import niqe_arch

    seen, covariance = [], niqe_arch.nancov
    with monkeypatch.context() as patch:
        patch.setattr(niqe_arch, "nancov", lambda blocks: seen.append(blocks[0].numpy()) or covariance(blocks))
        for name in names:
            scorer.score(photo(name), photo(name))
    features = np.concatenate(seen)
    assert features.shape == (9 * len(names), 36)
    return _write_parameters(no_weights, features.mean(axis=0), np.cov(features.T) + 1e-3 * np.eye(36))


@pytest.mark.medium
@needs_pyiqa
def test_niqe_with_local_parameters_recognises_damage_and_records_them(no_weights, monkeypatch):
    file = _fit(no_weights, monkeypatch, ("coffee", "chelsea", "rocket"))
    scorer = open_scorer("niqe", device="cpu")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert scorer.convention["weights"] == [{"file": file.name, "sha256": digest}]
    assert f"{file.name} {digest[:12]}" in scorer.text
    assert (scorer.kind, scorer.lower_better, scorer.convention["channel"]) == ("single", True, "yiq")
    clean = photo("astronaut")
    blurred = np.asarray(Image.fromarray(clean).filter(ImageFilter.GaussianBlur(3)))
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    noisy = (clean + noise).clip(0, 255).astype(np.uint8)
    scores = [scorer.score(rgb, clean) for rgb in (clean, blurred, noisy)]
    assert 0 < scores[0] < min(scores[1:]), "less is better"
    assert scorer.score(clean, blurred) == scores[0], "the reference is not looked at"
    with pytest.raises(ImageError, match="niqe"):
        scorer.score(clean[:64, :64], clean[:64, :64])


@pytest.mark.medium
@needs_pyiqa
def test_niqe_follows_its_parameters(no_weights):
    values = []
    for level in (0.0, 1.0):
        _write_parameters(no_weights, np.full(36, level), np.eye(36))
        values.append(open_scorer("niqe", device="cpu").score(photo("astronaut"), photo("astronaut")))
    assert values[0] != values[1]


@needs_pyiqa
def test_niqe_without_its_file_names_file_folder_and_source(no_weights):
    with pytest.raises(WeightsError) as caught:
        open_scorer("niqe", device="cpu")
    folder = no_weights / "torch/hub/pyiqa"
    assert str(caught.value) == (
        f"niqe needs niqe_modelparameters.mat, which is not in {folder}; this brings it:\n"
        f"  curl -fL --create-dirs -o {folder}/niqe_modelparameters.mat "
        "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/niqe_modelparameters.mat"
    )


@needs_pyiqa
def test_parameters_that_are_none_are_an_error_in_words(no_weights):
    file = _write_parameters(no_weights, np.zeros(36), np.eye(36))
    file.write_bytes(b"not a matrix")
    with pytest.raises(MachineError, match="niqe"):
        open_scorer("niqe", device="cpu")
