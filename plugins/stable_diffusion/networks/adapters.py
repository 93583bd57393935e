"""Low-rank additions (LoRA) as the package peft writes them, added into a network's weights once, when it is loaded.

Next to the weight W of a module stand two matrices, `<module>.lora_A.<adapter>.weight` and `<module>.lora_B.…`, and the
weight in use is W + alpha / r * B·A (Hu et al., ICLR 2022, arXiv:2106.09685). Of a convolution, A is one too, of its
size and with r results, and B a convolution of 1x1 behind it. A module that was trained in full beside that has its own
weights under `<module>.base_layer`, which take the network's place first.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from srcache.errors import WeightsError, listed

from ..checkpoints import describe_misfits


def merge_adapters(
    base: Mapping[str, Tensor],
    additions: Mapping[str, Tensor],
    adapters: Mapping[str, str],
    alpha: float,
    replaced: Sequence[str] = (),
) -> dict[str, Tensor]:
    """A network's tensors with the additions in them: in float32 where there are any, as they are elsewhere.

    Args:
        base: the network's tensors, by its own names; they are taken over, and those in float32 changed where they are.
        additions: as a checkpoint has them; all of one rank.
        adapters: for each module that has an addition, the name of its adapter.
        alpha: the products' weight is `alpha` over the rank.
        replaced: modules whose weight and bias are in the additions as a whole.

    Raises:
        WeightsError: the additions lack something, have something else besides, or do not fit the network.
    """
    wholes = {f"{name}.base_layer.{own}": f"{name}.{own}" for name in replaced for own in ("weight", "bias")}
    pairs = {name: _names(name, adapter) for name, adapter in adapters.items()}
    wanted = [*wholes, *(each for pair in pairs.values() for each in pair)]
    known = set(wanted)
    lacking = [own for own in (*wholes.values(), *(f"{name}.weight" for name in adapters)) if own not in base]
    if lacking:
        raise WeightsError(f"the network under the additions (LoRA) has no {listed(lacking, 3)}: it is of another kind")
    missing = [name for name in wanted if name not in additions]
    strange = [name for name in additions if name not in known]
    _refuse({"missing": missing, "without a place": strange})
    tensors = dict(base) | {own: additions[whole].clone() for whole, own in wholes.items()}
    ranks = {additions[name].shape[0] for name, _ in pairs.values()}
    misfits = [f"{whole} {_size(additions[whole])}" for whole, own in wholes.items() if not _alike(base, tensors, own)]
    misfits += [
        f"{a} {_size(additions[a])} and {_size(additions[b])} of a weight {_size(base[f'{name}.weight'])}"
        for name, (a, b) in pairs.items()
        if not _fit(base[f"{name}.weight"], additions[a], additions[b])
    ]
    _refuse({"of another shape": misfits})
    if len(ranks) > 1:
        raise WeightsError(f"additions (LoRA) have ranks {', '.join(map(str, sorted(ranks)))}; expected one for all")
    for name, (a, b) in pairs.items():
        weight = tensors[f"{name}.weight"].float()
        product = additions[b].float().flatten(1) @ additions[a].float().flatten(1)
        tensors[f"{name}.weight"] = weight.add_(product.view_as(weight), alpha=alpha / min(ranks))
    return tensors


def _alike(base: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> bool:
    return base[name].shape == tensors[name].shape


def _names(module: str, adapter: str) -> tuple[str, str]:
    return f"{module}.lora_A.{adapter}.weight", f"{module}.lora_B.{adapter}.weight"


def _fit(weight: Tensor, a: Tensor, b: Tensor) -> bool:
    rank = a.shape[0] if a.ndim else 0
    return a.shape[1:] == weight.shape[1:] and b.shape == (weight.shape[0], rank, *[1] * (weight.ndim - 2))


def _size(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}"


def _refuse(groups: Mapping[str, Sequence[str]]) -> None:
    misfits = describe_misfits(groups)
    if misfits:
        raise WeightsError(f"the additions (LoRA) do not fit the network; tensors {misfits}")
