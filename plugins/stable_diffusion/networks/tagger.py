"""RAM, the tagger that recognises what is in an image: words for the prompt, and embeddings.

Zhang et al., "Recognize Anything: A Strong Image Tagging Model" (arXiv:2306.03514), with SeeSR's additions (DAPE). The
image is resized to a square; a Swin transformer makes tokens of it; every tag's embedding attends to the tokens in two
cross-attention layers, and gets a logit. The tags' side of the first layer is the same for all images, so it is
computed once. All in float32.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from pathlib import Path
from typing import Any, Self

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional

from srcache.errors import WeightsError

from ..checkpoints import fit
from .convolutions import make_exact
from .lora import UNUSED, merge_dape

TAGS = Path(__file__).with_name("tags.json")
"""RAM's own tags and thresholds; NOTICE.md says where they are from."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SURPLUS = (UNUSED, r"visual_encoder\..*\.(attn_mask|relative_position_index)")
"""What RAM's file holds beyond the tagger: its captioning part, and what follows from the sizes alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """RAM's sizes, by the names of its own settings; as they stand here, they are the published model's (Swin-L)."""

    image_res: int = 384
    window_size: int = 12
    embed_dim: int = 192
    depths: Sequence[int] = (2, 2, 18, 2)
    num_heads: Sequence[int] = (6, 12, 24, 48)
    vision_width: int = 1536
    patch_size: int = 4
    mlp_ratio: float = 4
    qkv_bias: bool = True
    embed_out: int = 512
    bert_hidden: int = 768
    bert_heads: int = 4
    bert_layers: int = 2
    bert_intermediate: int = 3072
    bert_layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    num_tags: int = 4585
    lora_r: int = 8
    lora_alpha: float = 1

    def __post_init__(self) -> None:
        width = self.embed_dim * 2 ** (len(self.depths) - 1)
        if self.hidden_act != "gelu" or self.vision_width != width:
            raise WeightsError(
                f"expected a tagger with hidden_act gelu and vision_width {width}, "
                f"but its configuration says {self.hidden_act} and {self.vision_width}"
            )


class Tagger:
    """RAM with its list of tags: images → names of what is in them, and embeddings.

    Args:
        network: with its weights, see `load_tagger`.
        tags: the names, in the network's order.
        thresholds: for each tag the probability above which it is assigned.
        antialias: whether images larger than the network's square are smoothed when they are shrunk.
    """

    def __init__(
        self, network: "TaggerNetwork", tags: Sequence[str], thresholds: Sequence[float], antialias: bool
    ) -> None:
        self.network = network
        self._tags, self._thresholds, self._antialias = tags, torch.tensor(thresholds), antialias
        self._mean, self._std = (torch.tensor(each).view(3, 1, 1) for each in (_MEAN, _STD))

    def to(self, device: torch.device | str) -> Self:
        """Move everything to a device."""
        self.network.to(device)
        for name in ("_thresholds", "_mean", "_std"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[list[str], Tensor]:
        """Tag images as they were opened, whatever their size.

        Args:
            images: float32 (N, 3, H, W) in [0, 1], on the tagger's device.

        Returns:
            Each image's tags in the list's order, joined by ", ", possibly none; and embeddings, float32
            (N, 1 + T, 512) on the tagger's device: T tokens, with their mean in front.
        """
        with torch.autocast(images.device.type, enabled=False):
            embeds = self.network.embeds(self.prepared(images))
            chosen = self.chosen(self.network.logits(embeds).sigmoid())
        return [", ".join(compress(self._tags, row)) for row in chosen.tolist()], embeds

    def chosen(self, probabilities: Tensor) -> Tensor:
        """Which tags are assigned, of (N, tags) probabilities."""
        return probabilities > self._thresholds

    def prepared(self, images: Tensor) -> Tensor:
        """Images in [0, 1], resized to the network's square whatever their shape, and normalised."""
        square = functional.interpolate(
            images.contiguous(), self.network.sides, mode="bilinear", align_corners=False, antialias=self._antialias
        )
        return (square - self._mean) / self._std


class TaggerNetwork(nn.Module):
    """RAM without its captioning part; the modules have its checkpoint's names, but for Swin's, which are timm's.

    Attention to the tokens and the last layer are written out: on a CPU torch's own (`scaled_dot_product_attention`, a
    matrix times a vector) round an image's values differently at another place in the batch.
    """

    labels: Tensor
    queries: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.sides = (size.image_res, size.image_res)
        self.visual_encoder = _swin(size, size.embed_dim, size.num_heads)
        self.image_proj = nn.Linear(size.vision_width, size.embed_out)
        self.label_embed = nn.Parameter(torch.empty(size.num_tags, size.embed_out))
        if size.bert_hidden != size.embed_out:
            self.wordvec_proj = nn.Linear(size.embed_out, size.bert_hidden)
        layers = nn.ModuleList(_Layer(size) for _ in range(size.bert_layers))
        self.tagging_head = nn.ModuleDict({"encoder": nn.ModuleDict({"layer": layers})})
        self.fc = nn.Linear(size.bert_hidden, 1)
        self._layers: list[_Layer] = list(layers)  # type: ignore[arg-type]

    def prepare_labels(self) -> None:
        """Compute what depends on the tags alone; to be called once the weights are there."""
        labels = self.label_embed.detach()
        if hasattr(self, "wordvec_proj"):
            labels = functional.relu(self.wordvec_proj(labels))
        self.register_buffer("labels", labels[None], persistent=False)
        self.register_buffer("queries", self._layers[0].queries(labels[None]), persistent=False)

    def embeds(self, images: Tensor) -> Tensor:
        """Normalised (N, 3, S, S) → embeddings (N, 1 + T, 512)."""
        tokens = self.visual_encoder.forward_features(images).flatten(1, 2)
        embeds: Tensor = self.image_proj(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
        return embeds

    def logits(self, embeds: Tensor) -> Tensor:
        """Embeddings (N, 1 + T, 512) → one number a tag (N, tags)."""
        states, queries = self.labels, self.queries
        for number, layer in enumerate(self._layers):
            states = layer(states, layer.queries(states) if number else queries, embeds)
        return (states * self.fc.weight[0]).sum(-1) + self.fc.bias


class _Layer(nn.Module):
    """Cross-attention of the tags to the image's tokens, then a feed-forward network; normalised after each."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        hidden = size.bert_hidden
        self._heads = size.bert_heads
        projections = nn.ModuleDict(
            {
                "query": nn.Linear(hidden, hidden),
                "key": nn.Linear(size.embed_out, hidden),
                "value": nn.Linear(size.embed_out, hidden),
            }
        )
        self.crossattention = nn.ModuleDict({"self": projections, "output": _closing(size, hidden)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, size.bert_intermediate)})
        self.output = _closing(size, size.bert_intermediate)

    def queries(self, states: Tensor) -> Tensor:
        return self._split("query", states)

    def forward(self, states: Tensor, queries: Tensor, embeds: Tensor) -> Tensor:
        keys, values = self._split("key", embeds), self._split("value", embeds)
        weights = (queries * queries.shape[-1] ** -0.5 @ keys.transpose(-1, -2)).softmax(-1)
        seen = (weights @ values).transpose(1, 2).flatten(2)
        closing = self.crossattention["output"]
        states = closing["LayerNorm"](closing["dense"](seen) + states)  # type: ignore[index]
        inner = functional.gelu(self.intermediate["dense"](states))
        result: Tensor = self.output["LayerNorm"](self.output["dense"](inner) + states)
        return result

    def _split(self, name: str, states: Tensor) -> Tensor:
        """(N, L, C) → projected, and split into heads (N, heads, L, C / heads)."""
        projected: Tensor = self.crossattention["self"][name](states)  # type: ignore[index]
        count, length, width = projected.shape
        return projected.view(count, length, self._heads, width // self._heads).transpose(1, 2)


def _closing(size: Size, width: int) -> nn.ModuleDict:
    """The projection and the norm that close each half of a layer."""
    dense, norm = nn.Linear(width, size.bert_hidden), nn.LayerNorm(size.bert_hidden, size.bert_layer_norm_eps)
    return nn.ModuleDict({"dense": dense, "LayerNorm": norm})


def load_tagger(
    ram: Mapping[str, Tensor],
    dape: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    tags: tuple[Sequence[str], Sequence[float]] | None = None,
    *,
    antialias: bool = False,
) -> Tagger:
    """Build the tagger of RAM's and DAPE's tensors, on the CPU.

    Args:
        ram: by the checkpoint's names, of any floating dtype.
        dape: SeeSR's additions, see `lora.merged`.
        config: fields of `Size` that differ from the published model's.
        tags: names, and the probability above which each is assigned; RAM's own if not given.
        antialias: whether images larger than the network's square are smoothed when they are shrunk. The programs
            differ: SeeSR was trained and published with a library that does not smooth, later versions do.

    Raises:
        WeightsError: tensors or tags do not fit, or an unknown field.
    """
    size = _size(config or {})
    names, thresholds = tags or _own_tags()
    if not len(names) == len(thresholds) == size.num_tags:
        counts = f"{len(names)} tags and {len(thresholds)} thresholds"
        raise WeightsError(f"the tagger has {size.num_tags} tags, but the list has {counts}")
    tensors = merge_dape(_with_new_names(ram), dape, size.lora_r, size.lora_alpha)
    with torch.device("meta"):
        network = TaggerNetwork(size)
    fit(network, {_timm_name(name): tensor for name, tensor in tensors.items()}, "RAM", _SURPLUS)
    _fill_buffers(network.visual_encoder, size)
    make_exact(network).float().eval().requires_grad_(False)
    with torch.no_grad():
        network.prepare_labels()
    return Tagger(network, names, thresholds, antialias)


def tagger_rank(config: Mapping[str, Any] | None) -> tuple[int, float]:
    """The rank and alpha of DAPE's additions, see `merge_dape`; raises as `load_tagger`."""
    size = _size(config or {})
    return size.lora_r, size.lora_alpha


def _size(config: Mapping[str, Any]) -> Size:
    known = {field.name for field in fields(Size)}
    unknown = sorted(set(config) - known)
    if unknown:
        raise WeightsError(f"unknown in the tagger's configuration: {', '.join(unknown)}; known: {sorted(known)}")
    return Size(**config)


def _own_tags() -> tuple[list[str], list[float]]:
    content = json.loads(TAGS.read_text(encoding="utf-8"))
    return content["tags"], content["thresholds"]


def _with_new_names(ram: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """RAM's tensors by the names of its newer files; older ones call the tagging head `vision_multi`."""
    renamed = {name.replace("vision_multi", "tagging_head"): tensor for name, tensor in ram.items()}
    if len(renamed) < len(ram):
        raise WeightsError("RAM's file has a tagging_head and a vision_multi, its older name; expected one of them")
    return renamed


def _timm_name(name: str) -> str:
    """A stage's reduction stands at its end in RAM, at the beginning of the next stage in timm."""
    found = re.fullmatch(r"visual_encoder\.layers\.(\d+)\.downsample\.(.+)", name)
    return f"visual_encoder.layers.{int(found[1]) + 1}.downsample.{found[2]}" if found else name


def _swin(size: Size, width: int, heads: Sequence[int]) -> SwinTransformer:
    return SwinTransformer(
        img_size=size.image_res,
        patch_size=size.patch_size,
        num_classes=0,
        embed_dim=width,
        depths=tuple(size.depths),
        num_heads=tuple(heads),
        window_size=size.window_size,
        mlp_ratio=size.mlp_ratio,
        qkv_bias=size.qkv_bias,
        drop_path_rate=0.0,
    )


def _fill_buffers(swin: nn.Module, size: Size) -> None:
    """Masks and position indexes, which are in no file, from a network of one channel: they do not depend on widths."""
    twin = _swin(size, 1, [1] * len(size.depths))
    places = dict(swin.named_modules())
    for name, buffer in twin.named_buffers():
        module, _, own = name.rpartition(".")
        places[module].register_buffer(own, buffer, persistent=False)


def published_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a tagger with this configuration, by RAM's own names; see `load_tagger`."""
    with torch.device("meta"):
        network = TaggerNetwork(_size(config))
    return {_ram_name(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _ram_name(name: str) -> str:
    """The inverse of `_timm_name`."""
    found = re.fullmatch(r"visual_encoder\.layers\.(\d+)\.downsample\.(.+)", name)
    return f"visual_encoder.layers.{int(found[1]) - 1}.downsample.{found[2]}" if found else name
