"""pyiqa behind its guard: weights looked for first, nothing downloaded, nothing unpickled, the luma that was meant.

No weights lie on a machine that runs these tests. NIQE is run for real with parameters fitted here; all others are
asked for, and refused in words. What needs pyiqa is skipped without it; it is imported once.
"""

import hashlib
import math
import socket
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from images import picture
from PIL import Image, ImageFilter

from srcache.errors import ConfigError, ImageError, MachineError, MissingExtraError, WeightsError
from srcache.images import Pixels, resize
from srcache.recipe.degradation import Degradation
from srcache.study.quality import pyiqa_metrics as scorers
from srcache.study.quality.psnr_ssim import Convention, luma, measure_image
from srcache.study.quality.pyiqa_metrics import known_metrics, open_scorer, require_metric
from srcache.study.quality.pyiqa_weights import CODE, WEIGHTS, WeightFile

needs_pyiqa = pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa (extra iqa) is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Empty cache folders, so that nothing that lies on this machine is found."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


def photo(name: str, side: int = 288) -> Pixels:
    """The middle of one of scikit-image's photos."""
    data = pytest.importorskip("skimage.data")
    rgb = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
    top, left = ((size - side) // 2 for size in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


# Without importing pyiqa


@pytest.fixture
def table(monkeypatch):
    """Metrics as pyiqa's table has them, without pyiqa."""
    modes = {name: scorers.Mode("pair", True, {}) for name in (*WEIGHTS, *CODE, "ms_ssim", "clipscore")}
    monkeypatch.setattr(scorers, "known_metrics", lambda: modes)


def test_missing_files_are_named_with_folder_and_command(table, home):
    with pytest.raises(WeightsError) as caught:
        require_metric("lpips")
    torch = home / "torch/hub"
    assert str(caught.value).splitlines() == [
        f"lpips needs alexnet-owt-7be5be79.pth, which is not in {torch}/checkpoints; this brings it:",
        f"  curl -fL --create-dirs -o {torch}/checkpoints/alexnet-owt-7be5be79.pth "
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        f"and needs LPIPS_v0.1_alex-df73285e.pth, which is not in {torch}/pyiqa; this brings it:",
        f"  curl -fL --create-dirs -o {torch}/pyiqa/LPIPS_v0.1_alex-df73285e.pth "
        "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/LPIPS_v0.1_alex-df73285e.pth",
    ]
    for name in ("checkpoints/alexnet-owt-7be5be79.pth", "pyiqa/LPIPS_v0.1_alex-df73285e.pth"):
        (torch / name).parent.mkdir(parents=True)
        (torch / name).touch()
    require_metric("lpips")


def test_files_of_the_hub_are_looked_for_where_its_client_keeps_them(table, home):
    with pytest.raises(WeightsError, match=r"hf download timm/vit_base_patch8_224.augreg2_in21k_ft_in1k model") as told:
        require_metric("maniqa-pipal")
    assert f"which is not in {home}/hf/hub" in str(told.value)
    folder = home / "hf/hub/models--timm--vit_base_patch8_224.augreg2_in21k_ft_in1k/snapshots/0123"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    with pytest.raises(WeightsError) as later:
        require_metric("maniqa-pipal")
    assert "vit_base" not in str(later.value)


def test_another_endpoint_and_cache_are_heeded(home, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    file = WeightFile("x.pth")
    assert file.url == "https://mirror.example/chaofengc/IQA-PyTorch-Weights/resolve/main/x.pth"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert file.folder == home / "xdg/torch/hub/pyiqa"
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "there"))
    assert WeightFile("m", "timm").folder == home / "there"


@pytest.mark.parametrize("name", ["arniqa", "clipiqa", "fid_dinov2", "qalign", "liqe"])
def test_metrics_that_run_code_are_refused_unless_it_is_allowed(table, name):
    with pytest.raises(WeightsError, match=r"code that comes with its weights .* only with --allow-code"):
        require_metric(name)
    if name not in WEIGHTS:
        require_metric(name, allow_code=True)


def test_unknown_and_unfit_metrics_are_mistakes(table):
    with pytest.raises(ConfigError, match=r"no metric is named 'lpipps'; pyiqa .* has: .*lpips, lpips\+"):
        require_metric("lpipps")
    with pytest.raises(ConfigError, match="compares pictures with captions"):
        require_metric("clipscore")


def test_without_pyiqa_the_extra_and_its_licence_are_named(monkeypatch):
    monkeypatch.setattr(scorers, "find_spec", lambda _: None)
    known_metrics.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pyiqa \(PolyForm Noncommercial.*pip install 'srcache\[iqa\]'"):
        require_metric("lpips")


# With pyiqa


@needs_pyiqa
def test_the_table_names_metrics_that_pyiqa_has():
    assert set(WEIGHTS) | set(CODE) <= set(known_metrics())
    assert len(known_metrics()) >= 100
    assert known_metrics()["lpips"].lower_better
    kinds = {name: known_metrics()[name].kind for name in ("lpips", "niqe", "fid", "sfid", "inception_score")}
    assert kinds == {"lpips": "pair", "niqe": "single", "fid": "set", "sfid": "set", "inception_score": "set"}


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
def test_the_guard_puts_everything_back():
    import torch

    before = torch.load, torch.jit.load, torch.hub.load, socket.getaddrinfo, urllib.request.urlopen
    with pytest.raises(WeightsError):
        open_scorer("stlpips", device="cpu")
    open_scorer("psnry", device="cpu")
    assert before == (torch.load, torch.jit.load, torch.hub.load, socket.getaddrinfo, urllib.request.urlopen)


class _Bomb:
    """What unpickles it, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@needs_pyiqa
def test_a_checkpoint_that_holds_code_is_refused_and_not_run(home):
    import torch

    file = home / "torch/hub/pyiqa/brisque_svm_weights.pth"
    file.parent.mkdir(parents=True)
    torch.save(_Bomb(home / "mark"), file)
    with pytest.raises(WeightsError, match=r"brisque needs brisque_svm_weights\.pth, .* plain weights .*--allow-code"):
        open_scorer("brisque", device="cpu")
    assert not (home / "mark").exists()
    with pytest.raises(MachineError, match="brisque cannot be made"):
        open_scorer("brisque", device="cpu", allow_code=True)
    assert (home / "mark").exists(), "whoever opts in gets what the checkpoint brings"


@needs_pyiqa
def test_plain_weights_are_loaded_and_their_digest_is_recorded(home):
    import torch

    file = home / "torch/hub/pyiqa/brisque_svm_weights.pth"
    file.parent.mkdir(parents=True)
    torch.save((torch.ones(1, 4), torch.rand(4, 36)), file)
    convention = open_scorer("brisque", device="cpu").convention
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert convention["weights"] == [{"file": "brisque_svm_weights.pth", "sha256": digest}]


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


@needs_pyiqa
def test_psnr_agrees_with_torchmetrics():
    image = pytest.importorskip("torchmetrics.functional.image")
    import torch

    clean = picture(40, 48, 1)
    dirty = resize(resize(clean, (20, 24), "box"), (40, 48), "bicubic")
    left, right = (torch.from_numpy(luma(rgb[3:-3, 3:-3]).astype(np.float64)) for rgb in (dirty, clean))
    wanted = float(image.peak_signal_noise_ratio(left, right, data_range=255.0))
    assert measure_image(dirty, clean, Convention(channel="y", crop_border=3)).psnr == pytest.approx(wanted, abs=1e-5)


@needs_pyiqa
def test_a_picture_that_is_too_small_is_told():
    with pytest.raises(ImageError, match="ms_ssim cannot measure it") as caught:
        open_scorer("ms_ssim", device="cpu").score(picture(16, 16), picture(16, 16))
    assert caught.value.reason == "metric_failed"


# NIQE for real


def _write_parameters(home: Path, mean: np.ndarray, covariance: np.ndarray) -> Path:
    from scipy.io import savemat

    file = home / "torch/hub/pyiqa/niqe_modelparameters.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"mu_prisparam": mean[None], "cov_prisparam": covariance})
    return file


def _fit(home: Path, monkeypatch, names: tuple[str, ...]) -> Path:
    """Parameters of a few sharp photos: mean and covariance of the features that pyiqa takes of their blocks."""
    _write_parameters(home, np.zeros(36), np.eye(36))
    scorer = open_scorer("niqe", device="cpu")
    from pyiqa.archs import niqe_arch

    seen, covariance = [], niqe_arch.nancov
    with monkeypatch.context() as patch:
        patch.setattr(niqe_arch, "nancov", lambda blocks: seen.append(blocks[0].numpy()) or covariance(blocks))
        for name in names:
            scorer.score(photo(name), photo(name))
    features = np.concatenate(seen)
    assert features.shape == (9 * len(names), 36)
    return _write_parameters(home, features.mean(axis=0), np.cov(features.T) + 1e-3 * np.eye(36))


@needs_pyiqa
def test_niqe_with_local_parameters_tells_damage_and_records_them(home, monkeypatch):
    file = _fit(home, monkeypatch, ("coffee", "chelsea", "rocket"))
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


@needs_pyiqa
def test_niqe_follows_its_parameters(home):
    values = []
    for level in (0.0, 1.0):
        _write_parameters(home, np.full(36, level), np.eye(36))
        values.append(open_scorer("niqe", device="cpu").score(photo("astronaut"), photo("astronaut")))
    assert values[0] != values[1]


@needs_pyiqa
def test_niqe_without_its_file_names_file_folder_and_source(home):
    with pytest.raises(WeightsError) as caught:
        open_scorer("niqe", device="cpu")
    folder = home / "torch/hub/pyiqa"
    assert str(caught.value) == (
        f"niqe needs niqe_modelparameters.mat, which is not in {folder}; this brings it:\n"
        f"  curl -fL --create-dirs -o {folder}/niqe_modelparameters.mat "
        "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/niqe_modelparameters.mat"
    )


@needs_pyiqa
def test_parameters_that_are_none_are_an_error_in_words(home):
    file = _write_parameters(home, np.zeros(36), np.eye(36))
    file.write_bytes(b"not a matrix")
    with pytest.raises(MachineError, match="niqe"):
        open_scorer("niqe", device="cpu")
