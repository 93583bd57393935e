"""The small tagger of SeeSR's golden cases: its parts, images for it, and what is compared."""

import json
from functools import cache

import torch
from seesr_fixtures import GOLDEN, weights
from srcache_plugins.stable_diffusion.networks.tagger import load_tagger


def parts(letter):
    """What makes the small tagger: RAM's tensors, DAPE's, the configuration, the tags."""
    config, ram = weights(f"ram_{letter}_base")
    listed = json.loads((GOLDEN / f"ram_{letter}_tags.json").read_text(encoding="utf-8"))
    return ram, weights(f"ram_{letter}_dape")[1], config, (listed["tags"], listed["thresholds"])


def small(letter="B", antialias=False, **changed):
    """The small tagger, with other parts where they are given; as it is stored, it is loaded once."""
    return _loaded(letter, antialias, **changed) if changed else _stored(letter, antialias)


def _loaded(letter, antialias, **changed):
    ram, dape, config, tags = parts(letter)
    return load_tagger(**({"ram": ram, "dape": dape, "config": config, "tags": tags} | changed), antialias=antialias)


_stored = cache(_loaded)


def pixels(tensors, name="in.image_uint8"):
    return tensors[name].permute(2, 0, 1)[None].float() / 255


def noise(count, height, width, seed=5):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def logits(tagger, embeds):
    with torch.inference_mode():
        return tagger.network.logits(embeds)


def close(found, wanted, tolerance):
    assert found.shape == wanted.shape
    return (found - wanted).abs().max().item() <= tolerance
