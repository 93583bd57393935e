"""Which files pyiqa's metrics load: where they are looked for, and the command that brings one."""

import shlex
from importlib.util import find_spec

import pytest

from srcache.errors import WeightsError
from srcache.study.quality.pyiqa_metrics import known_metrics, require_metric
from srcache.study.quality.pyiqa_weights import CODE, WEIGHTS, WeightFile, fetching

pytestmark = pytest.mark.usefixtures("no_weights")
needs_pyiqa = pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa (extra iqa) is not installed")


def test_missing_files_are_named_with_folder_and_command(known_names, no_weights):
    with pytest.raises(WeightsError) as error:
        require_metric("lpips")
    torch = no_weights / "torch/hub"
    assert str(error.value).splitlines() == [
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


def test_files_of_the_hub_are_looked_for_where_its_client_keeps_them(known_names, no_weights):
    with pytest.raises(
        WeightsError, match=r"hf download timm/vit_base_patch8_224.augreg2_in21k_ft_in1k model"
    ) as error:
        require_metric("maniqa-pipal")
    assert f"which is not in {no_weights}/hf/hub" in str(error.value)
    folder = no_weights / "hf/hub/models--timm--vit_base_patch8_224.augreg2_in21k_ft_in1k/snapshots/0123"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    with pytest.raises(WeightsError) as later:
        require_metric("maniqa-pipal")
    assert "vit_base" not in str(later.value)


def test_another_endpoint_and_cache_are_used(no_weights, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    file = WeightFile("x.pth")
    assert file.url == "https://mirror.example/chaofengc/IQA-PyTorch-Weights/resolve/main/x.pth"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_weights / "xdg"))
    assert file.folder == no_weights / "xdg/torch/hub/pyiqa"
    monkeypatch.setenv("HF_HUB_CACHE", str(no_weights / "there"))
    assert WeightFile("m", "timm").folder == no_weights / "there"


@needs_pyiqa
def test_the_table_names_metrics_that_pyiqa_has():
    assert set(WEIGHTS) | set(CODE) <= set(known_metrics())
    assert len(known_metrics()) >= 100
    assert known_metrics()["lpips"].lower_better
    kinds = {name: known_metrics()[name].kind for name in ("lpips", "niqe", "fid", "sfid", "inception_score")}
    assert kinds == {"lpips": "pair", "niqe": "single", "fid": "set", "sfid": "set", "inception_score": "set"}


def test_a_command_is_one_that_a_shell_takes_whatever_the_path(no_weights):
    assert fetching("https://a.b/c.pth", no_weights / "it's here/c.pth").split(" -o ")[1].startswith("'")
    assert shlex.split(fetching("https://a.b/c.pth", no_weights / "it's here/c.pth")) == [
        *("curl", "-fL", "--create-dirs", "-o", str(no_weights / "it's here/c.pth"), "https://a.b/c.pth"),
    ]


def test_clips_weights_lie_in_a_folder_of_their_own(no_weights):
    (clip, _) = WEIGHTS["clipiqa+"]
    assert clip.folder == no_weights / "torch/hub/clip"
    assert clip.url.startswith("https://openaipublic.azureedge.net/clip/models/")
    assert clip.path() is None
    clip.folder.mkdir(parents=True)
    (clip.folder / clip.name).touch()
    assert clip.path() == clip.folder / "RN50.pt"
