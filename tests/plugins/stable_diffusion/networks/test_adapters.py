"""Low-rank additions merged into weights: peft's own arithmetic, and what is refused."""

import pytest
import torch
from seesr_fixtures import drawn
from srcache_plugins.stable_diffusion.networks.adapters import merge_adapters
from torch import nn
from torch.nn import functional

from srcache.errors import WeightsError

LINEAR, WIDE, SMALL = nn.Linear(5, 6), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 1)
RANK, ALPHA = 2, 8


def base(dtype=torch.float32):
    layers = {"linear": LINEAR, "wide": WIDE, "small": SMALL}
    named = {f"{name}.{own}": each for name, layer in layers.items() for own, each in layer.state_dict().items()}
    return {name: tensor.to(dtype, copy=True) for name, tensor in named.items()}


def additions(module, rank=RANK, adapter="x"):
    out, *inner = base()[f"{module}.weight"].shape
    return {
        f"{module}.lora_A.{adapter}.weight": drawn(rank, *inner),
        f"{module}.lora_B.{adapter}.weight": drawn(out, rank, *[1] * (len(inner) - 1), seed=1),
    }


@torch.no_grad()
def test_a_merged_layer_does_what_the_layer_and_its_addition_do():
    given = {**additions("linear"), **additions("wide"), **additions("small")}
    merged = merge_adapters(base(), given, dict.fromkeys(("linear", "wide", "small"), "x"), ALPHA)
    a, b = (given[f"linear.lora_{side}.x.weight"] for side in "AB")
    rows, scale = drawn(7, 5), ALPHA / RANK
    found = functional.linear(rows, merged["linear.weight"], merged["linear.bias"])
    torch.testing.assert_close(found, LINEAR(rows) + scale * rows @ a.T @ b.T)
    for name, layer, image in (("wide", WIDE, drawn(1, 3, 6, 5)), ("small", SMALL, drawn(1, 4, 6, 5))):
        a, b = (given[f"{name}.lora_{side}.x.weight"] for side in "AB")
        found = functional.conv2d(image, merged[f"{name}.weight"], merged[f"{name}.bias"], padding=layer.padding)
        low = functional.conv2d(functional.conv2d(image, a, padding=layer.padding), b)
        torch.testing.assert_close(found, layer(image) + scale * low, atol=1e-5, rtol=1e-5)


def test_what_has_no_addition_stays_as_it_is_and_sums_are_float32():
    merged = merge_adapters(base(torch.float16), additions("wide"), {"wide": "x"}, ALPHA)
    assert {name: tensor.dtype for name, tensor in merged.items() if tensor.dtype != torch.float16} == {
        "wide.weight": torch.float32
    }


def test_a_module_that_was_trained_in_full_takes_the_network_s_place():
    whole = {"wide.base_layer.weight": drawn(4, 3, 3, 3, seed=5), "wide.base_layer.bias": drawn(4, seed=6)}
    given = {**additions("wide"), **whole}
    merged = merge_adapters(base(), given, {"wide": "x"}, ALPHA, replaced=("wide",))
    instead = {**base(), "wide.weight": whole["wide.base_layer.weight"].clone()}
    wanted = merge_adapters(instead, additions("wide"), {"wide": "x"}, ALPHA)
    assert torch.equal(merged["wide.weight"], wanted["wide.weight"])
    assert torch.equal(merged["wide.bias"], whole["wide.base_layer.bias"])
    assert torch.equal(given["wide.base_layer.weight"], drawn(4, 3, 3, 3, seed=5)), "additions stay as they are"


def test_shapes_alone_are_enough():
    meta = {name: tensor.to("meta") for name, tensor in {**base(), **additions("wide")}.items()}
    network, given = ({n: t for n, t in meta.items() if ("lora" in n) == wanted} for wanted in (False, True))
    merged = merge_adapters(network, given, {"wide": "x"}, ALPHA)
    assert merged["wide.weight"].is_meta


@pytest.mark.parametrize(
    ("adapters", "given", "words"),
    [
        ({"wide": "y"}, additions("wide"), r"2 missing: wide\.lora_A\.y\.weight, .*; 2 without a place"),
        ({"other": "x"}, {}, r"the network under the additions \(LoRA\) has no other\.weight"),
        ({"wide": "x"}, {**additions("wide"), **additions("linear")}, r"2 without a place: linear\.lora_A"),
        (
            {"wide": "x", "linear": "x"},
            {**additions("wide"), **additions("linear", 3)},
            r"ranks 2 \(wide\), 3 \(linear\); expected one",
        ),
        (
            {"wide": "x"},
            {**additions("wide"), "wide.lora_B.x.weight": drawn(4, 2)},
            r"1 of another shape: wide\.lora_A\.x\.weight \(2, 3, 3, 3\) and \(4, 2\) of a weight \(4, 3, 3, 3\)",
        ),
        ({"wide": "x"}, additions("wide", 0), "1 of another shape"),
        ({"wide": "x"}, {**additions("wide"), "wide.lora_A.x.weight": drawn(2, 3, 3, 3) / 0}, "not finite: wide"),
    ],
)
def test_what_does_not_fit_is_refused(adapters, given, words):
    with pytest.raises(WeightsError, match=words):
        merge_adapters(base(), given, adapters, ALPHA)
