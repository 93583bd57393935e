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
        WeightsError: the additions lack something, have something else besides, do not fit the network, or hold what
            is no number.
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
    misfits = [f"{whole} {_size(additions[whole])}" for whole, own in wholes.items() if not _alike(base, tensors, own)]
    misfits += [
        f"{a} {_size(additions[a])} and {_size(additions[b])} of a weight {_size(base[f'{name}.weight'])}"
        for name, (a, b) in pairs.items()
        if not _fit(base[f"{name}.weight"], additions[a], additions[b])
    ]
    _refuse({"of another shape": misfits})
    require_finite(additions)
    rank = _one_rank({name: additions[a].shape[0] for name, (a, _) in pairs.items()})
    for name, (a, b) in pairs.items():
        weight = tensors[f"{name}.weight"].float()
        product = additions[b].float().flatten(1) @ additions[a].float().flatten(1)
        tensors[f"{name}.weight"] = weight.add_(product.view_as(weight), alpha=alpha / rank)
    return tensors


def require_finite(additions: Mapping[str, Tensor]) -> None:
    """Refuse additions that hold what is no number; of those on the meta device, nothing is known.

    Raises:
        WeightsError: it names them.
    """
    broken = [name for name, tensor in additions.items() if not tensor.is_meta and not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"additions (LoRA) hold values that are not finite: {listed(broken, 3)}")


def _one_rank(ranks: Mapping[str, int]) -> int:
    """The rank that all modules have."""
    having = {rank: [name for name, own in ranks.items() if own == rank] for rank in sorted(set(ranks.values()))}
    if len(having) > 1:
        found = ", ".join(f"{rank} ({listed(names, 1)})" for rank, names in having.items())
        raise WeightsError(f"additions (LoRA) have ranks {found}; expected one for all")
    return next(iter(having), 1)


def _alike(base: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> bool:
    return base[name].shape == tensors[name].shape


def _names(module: str, adapter: str) -> tuple[str, str]:
    return f"{module}.lora_A.{adapter}.weight", f"{module}.lora_B.{adapter}.weight"


def _fit(weight: Tensor, a: Tensor, b: Tensor) -> bool:
    rank = a.shape[0] if a.ndim else 0
    return rank > 0 and a.shape[1:] == weight.shape[1:] and b.shape == (weight.shape[0], rank, *[1] * (weight.ndim - 2))


def _size(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}"


def _refuse(groups: Mapping[str, Sequence[str]]) -> None:
    misfits = describe_misfits(groups)
    if misfits:
        raise WeightsError(f"the additions (LoRA) do not fit the network; tensors {misfits}")
