"""Which files pyiqa's metrics load, where they must lie, and what brings them.

pyiqa fetches weights by itself when a metric is made; without a network that ends, after up to a minute, in an error
that names neither file nor metric. So the files are looked for first. The table is that of pyiqa 0.1.16; a metric that
is not in it is made under a guard (see `pyiqa_guard`), which says which file it wanted. Of the files' contents nothing
is known here: upstream publishes no checksums, so what was used is recorded by its digest.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

_CLIP = "https://openaipublic.azureedge.net/clip/models"
_RN50 = f"{_CLIP}/afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
_VIT_B32 = f"{_CLIP}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file that a metric loads: its name, its source (`pyiqa`, `torchvision`, `timm`), or its folder's URL."""

    name: str
    source: str = "pyiqa"

    @property
    def folder(self) -> Path:
        """Where the libraries look for it."""
        if self.source == "timm":
            return hub_folder()
        return torch_folder() / {"pyiqa": "pyiqa", "torchvision": "checkpoints"}.get(self.source, "clip")

    def path(self) -> Path | None:
        """The file, if it is on this machine."""
        if self.source == "timm":
            home = self.folder / f"models--timm--{self.name}" / "snapshots"
            found = [path for name in _TIMM_FILES for path in sorted(home.glob(f"*/{name}"))]
            return found[0] if found else None
        path = self.folder / self.name
        return path if path.is_file() else None

    @property
    def command(self) -> str:
        """A command line that brings it."""
        if self.source == "timm":
            return f"hf download timm/{self.name} {_TIMM_FILES[0]} config.json"
        return fetching(self.url, self.folder / self.name)

    @property
    def url(self) -> str:
        """Where it is published."""
        hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        home = {
            "pyiqa": f"{hub}/chaofengc/IQA-PyTorch-Weights/resolve/main",
            "torchvision": "https://download.pytorch.org/models",
            "timm": f"{hub}/timm",
        }
        return f"{home.get(self.source, self.source)}/{self.name}"


def fetching(url: str, path: Path) -> str:
    """The command line that brings a file to its place."""
    return f"curl -fL --create-dirs -o {quote(str(path))} {quote(url)}"


def torch_folder() -> Path:
    """Where torch's hub keeps files: TORCH_HOME/hub, else XDG_CACHE_HOME/torch/hub, else ~/.cache/torch/hub."""
    home = os.environ.get("TORCH_HOME")
    return Path(home).expanduser() / "hub" if home else _user_cache() / "torch/hub"


def hub_folder() -> Path:
    """Where the hub's client keeps files: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub."""
    cache, home = os.environ.get("HF_HUB_CACHE"), os.environ.get("HF_HOME")
    if cache:
        return Path(cache).expanduser()
    return (Path(home).expanduser() if home else _user_cache() / "huggingface") / "hub"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


_ALEX = WeightFile("alexnet-owt-7be5be79.pth", "torchvision")
_VGG16 = WeightFile("vgg16-397923af.pth", "torchvision")
_RESNET18 = WeightFile("resnet18-f37072fd.pth", "torchvision")
_RESNET50 = WeightFile("resnet50-0676ba61.pth", "torchvision")
_TIMM_RESNET = WeightFile("resnet50.a1_in1k", "timm")
_TIMM_VIT = WeightFile("vit_base_patch8_224.augreg2_in21k_ft_in1k", "timm")
_CLIP_RN50 = WeightFile("RN50.pt", _RN50)
_CLIP_VIT = WeightFile("ViT-B-32.pt", _VIT_B32)
_INCEPTION = WeightFile("pt_inception-2015-12-05-6726825d.pth")


def _topiq(name: str) -> tuple[WeightFile, ...]:
    return _TIMM_RESNET, WeightFile(f"{name}.pth")


WEIGHTS: dict[str, tuple[WeightFile, ...]] = {
    "ahiq": (_TIMM_RESNET, _TIMM_VIT, WeightFile("AHIQ_vit_p8_epoch33-da3ea303.pth")),
    "brisque": (WeightFile("brisque_svm_weights.pth"),),
    "brisque_matlab": (WeightFile("brisque_matlab.mat"),),
    "clipiqa": (_CLIP_RN50,),
    "clipiqa+": (_CLIP_RN50, WeightFile("CLIP-IQA+_learned_prompts-603f3273.pth")),
    "clipiqa+_rn50_512": (_CLIP_RN50, WeightFile("CLIPIQA+_RN50_512-89f5d940.pth")),
    "cnniqa": (WeightFile("CNNIQA_koniq10k-e6f14c91.pth"),),
    "dbcnn": (_VGG16, WeightFile("DBCNN_scnn-7ea73d75.pth"), WeightFile("DBCNN_KonIQ10k-2de81c0a.pth")),
    "dists": (_VGG16, WeightFile("DISTS_weights-f5e65c96.pth")),
    "fid": (_INCEPTION,),
    "ilniqe": (WeightFile("ILNIQE_templateModel.mat"),),
    "inception_score": (_INCEPTION,),
    "liqe": (_CLIP_VIT, WeightFile("liqe_koniq.pt")),
    "liqe_mix": (_CLIP_VIT, WeightFile("liqe_mix.pt")),
    "lpips": (_ALEX, WeightFile("LPIPS_v0.1_alex-df73285e.pth")),
    "lpips+": (_ALEX, WeightFile("LPIPS_v0.1_alex-df73285e.pth")),
    "lpips-vgg": (_VGG16, WeightFile("LPIPS_v0.1_vgg-a78928a0.pth")),
    "lpips-vgg+": (_VGG16, WeightFile("LPIPS_v0.1_vgg-a78928a0.pth")),
    "maniqa": (_TIMM_VIT, WeightFile("ckpt_koniq10k.pt")),
    "maniqa-kadid": (_TIMM_VIT, WeightFile("ckpt_kadid10k.pt")),
    "maniqa-pipal": (_TIMM_VIT, WeightFile("MANIQA_PIPAL-ae6d356b.pth")),
    "musiq": (WeightFile("musiq_koniq_ckpt-e95806b9.pth"),),
    "musiq-ava": (WeightFile("musiq_ava_ckpt-e8d3f067.pth"),),
    "musiq-paq2piq": (WeightFile("musiq_paq2piq_ckpt-364c0c84.pth"),),
    "musiq-spaq": (WeightFile("musiq_spaq_ckpt-358bb6af.pth"),),
    "niqe": (WeightFile("niqe_modelparameters.mat"),),
    "niqe_matlab": (WeightFile("niqe_matlab_params.mat"),),
    "nrqm": (WeightFile("NRQM_model.mat"),),
    "paq2piq": (_RESNET18, WeightFile("P2P_RoIPoolModel-fit.10.bs.120-ca69882e.pth")),
    "pi": (WeightFile("NRQM_model.mat"), WeightFile("niqe_modelparameters.mat")),
    "pieapp": (WeightFile("PieAPPv0.1-0937b014.pth"),),
    "sfid": (_INCEPTION,),
    "topiq_fr": _topiq("cfanet_fr_kadid_res50-2c4cc61d"),
    "topiq_fr-pipal": _topiq("cfanet_fr_pipal_res50-69bbe5ba"),
    "topiq_nr": _topiq("cfanet_nr_koniq_res50-9a73138b"),
    "topiq_nr-flive": _topiq("cfanet_nr_flive_res50-ded1c74e"),
    "topiq_nr-spaq": _topiq("cfanet_nr_spaq_res50-a7f799ac"),
    "tres": (_RESNET50, WeightFile("tres_koniq-f0502926.pth")),
    "tres-flive": (_RESNET50, WeightFile("tres_flive-09b0de5b.pth")),
    "uranker": (WeightFile("URanker_ckpt-450eb36d.pth"),),
}
"""The files of each metric, as far as they are known; a metric that needs none is not here either."""

CODE = {
    **dict.fromkeys(("clipiqa", "clipiqa+", "clipiqa+_rn50_512", "clipiqa+_vitL14_512"), "CLIP as TorchScript"),
    **dict.fromkeys(("liqe", "liqe_mix", "maclip", "clipscore", "laion_aes"), "CLIP as TorchScript"),
    **dict.fromkeys(("qualiclip", "qualiclip+", "qualiclip+-clive", "qualiclip+-flive"), "CLIP as TorchScript"),
    **dict.fromkeys(("qualiclip+-spaq", "afine_nr", "afine_fr", "afine_all", "afine_all_scale"), "CLIP as TorchScript"),
    **dict.fromkeys(("arniqa", "arniqa-live", "arniqa-csiq", "arniqa-tid"), "a regressor as TorchScript"),
    **dict.fromkeys(("arniqa-kadid", "arniqa-clive", "arniqa-flive", "arniqa-spaq"), "a regressor as TorchScript"),
    **dict.fromkeys(("qalign", "qalign_8bit", "qalign_4bit", "compare2score"), "a model's own Python files"),
    "fid_dinov2": "a repository's own Python files",
}
"""Metrics that run code which comes with their weights, and what it is."""
