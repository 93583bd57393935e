"""DAPE's low-rank additions (LoRA) to RAM, added into RAM's weights once, when they are loaded.

SeeSR trains its tagger by LoRA (Hu et al., ICLR 2022, arXiv:2106.09685): next to a weight W stand two small matrices
A and B, and the weight in use is W + alpha / r * B·A. The file names the matrices by the module that they belong to,
with `lora_A` and `lora_B` behind it.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from srcache.errors import WeightsError

from ..checkpoints import describe_misfits

_TARGETS = r"visual_encoder\..*\.attn\.qkv|tagging_head\..*\.crossattention\.self\.(query|key)"
_TIED = r"tag_encoder\.(encoder\.layer\.\d+\.crossattention\.self\.(?:query|key))"
UNUSED = r"(tag_encoder|text_decoder)\..*"
"""Names of tensors of RAM's captioning part, which takes no part in tagging."""


def merge_dape(ram: Mapping[str, Tensor], dape: Mapping[str, Tensor], rank: int, alpha: float) -> dict[str, Tensor]:
    """RAM's tensors with DAPE's products added: in float32 where there is one, as they are elsewhere.

    In the program that trained them, `tag_encoder` shares its cross-attention weights with `tagging_head`, and each of
    the two adds its own product to them. So does this: where DAPE has matrices of both, the weight gets both products.
    Matrices of modules that take no part in tagging are ignored.

    Args:
        ram: by RAM's own names.
        dape: by the same modules' names, with `.lora_A` and `.lora_B`.
        rank: r, the width of the matrices.
        alpha: the products' weight is `alpha / rank`.

    Raises:
        WeightsError: a matrix is missing, has another shape, or belongs to no weight.
    """
    sums = {f"{name}.weight": [name] for name in _modules(ram)}
    missing = [f"{name}.lora_{side}" for (name,) in sums.values() for side in "AB" if f"{name}.lora_{side}" not in dape]
    strange = []
    for name in dape:
        matrix = re.fullmatch(r"(.+)\.lora_[AB]", name)
        module = matrix[1] if matrix else ""
        tied = re.fullmatch(_TIED, module)
        target = f"tagging_head.{tied[1]}.weight" if tied else ""
        if target in sums:
            sums[target] += [module] if module not in sums[target] else []
            missing += [other for other in (f"{module}.lora_A", f"{module}.lora_B") if other not in dape]
        elif f"{module}.weight" not in sums and not re.fullmatch(UNUSED, module):
            strange.append(name)
    misfits = describe_misfits({"missing": list(dict.fromkeys(missing)), "without a place": strange})
    if misfits:
        raise WeightsError(f"DAPE does not fit RAM; tensors {misfits}")
    tensors = dict(ram)
    for target, modules in sums.items():
        weight = ram[target].float()
        for module in modules:
            weight = weight + alpha / rank * _product(dape, module, weight, rank)
        tensors[target] = weight
    return tensors


def _modules(ram: Mapping[str, Tensor]) -> list[str]:
    names = [name.removesuffix(".weight") for name in ram if name.endswith(".weight")]
    return [name for name in names if re.fullmatch(_TARGETS, name)]


def _product(dape: Mapping[str, Tensor], module: str, weight: Tensor, rank: int) -> Tensor:
    """B·A in the weight's shape; a fused query, key and value has two products, for the query and for the value."""
    a, b = dape[f"{module}.lora_A"].float(), dape[f"{module}.lora_B"].float()
    rows, columns = weight.shape
    parts = 2 if module.endswith(".qkv") else 1
    used = rows // 3 * 2 if parts == 2 else rows
    if a.shape != (parts * rank, columns) or b.shape != (used, rank):
        found = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise WeightsError(f"DAPE's matrices of {module} have shapes {found}, but its weight is {tuple(weight.shape)}")
    if parts == 1:
        return b @ a
    (query_a, value_a), (query_b, value_b) = a.chunk(2), b.chunk(2)
    return torch.cat([query_b @ query_a, torch.zeros_like(weight[: rows // 3]), value_b @ value_a])
