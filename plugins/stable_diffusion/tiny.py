"""Bundles that are made on the spot: an engine's networks, hundreds of times smaller, with weights that mean nothing.

With one, all of the engine's code can be run on any machine without a download, for tests and demonstrations. What it
makes is no super-resolution. The numbers are integers of a frozen generator divided by powers of two, so that the files
are the same bytes on every machine; their digests stand in the manifest.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

SEED = 20240617
FAINT = 1 / 32
"""How strong the VAE's output is, so that a colour fix which puts the LR image's coarse part under it shows both; and
what peft's additions are, so that what goes through many of them stays in half precision's range."""

_WIDTH = 32
_BYTES = 256
_LEVELS = 2048

UNET: dict[str, Any] = {
    "block_out_channels": [16, 32, 32, 32],
    "norm_num_groups": 8,
    "layers_per_block": 2,
    "cross_attention_dim": _WIDTH,
    "attention_head_dim": [2, 4, 4, 4],
    "use_linear_projection": True,
}
"""Settings of a UNet, or of a ControlNet beside it."""

CONFIGS: dict[str, dict[str, Any]] = {
    "vae/config.json": {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [32, 32, 32, 32],
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 64,
        "scaling_factor": 0.18215,
    },
    "text_encoder/config.json": {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
        "vocab_size": 2 * _BYTES + 2,
        "bos_token_id": 2 * _BYTES,
        "eos_token_id": 2 * _BYTES + 1,
        "pad_token_id": 0,
    },
    "scheduler/scheduler_config.json": {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "clip_sample": False,
        "steps_offset": 1,
    },
    "ram/config.json": {
        "image_res": 96,
        "window_size": 3,
        "embed_dim": 8,
        "depths": [2, 2, 2, 2],
        "num_heads": [1, 2, 4, 8],
        "vision_width": 64,
        "bert_hidden": 32,
        "bert_intermediate": 64,
        "num_tags": 12,
    },
    "ram/tags.json": {
        "tags": ["bird", "boat", "building", "cat", "dog", "face", "flower", "grass", "sky", "snow", "tree", "water"],
        "thresholds": [0.5] * 12,
    },
}


UNET_IMAGE: dict[str, Any] = {"sample_size": 16, "in_channels": 4, "out_channels": 4}
"""What a UNet's settings say beside `UNET`."""


def write_files(folder: Path, configs: Mapping[str, Any], shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> None:
    """Write all files of a bundle under a folder.

    Args:
        folder: where.
        configs: the content of every JSON file, by path.
        shapes: of the tensors of every file, by path and name; numbers are drawn in this order.
    """
    for name, config in configs.items():
        _write(folder / name, json.dumps(config, indent=1, sort_keys=True) + "\n")
    vocabulary = _vocabulary()
    _write(folder / "tokenizer/vocab.json", json.dumps(vocabulary, ensure_ascii=True) + "\n")
    _write(folder / "tokenizer/merges.txt", "#version: 0.2\n")
    rng = np.random.RandomState(SEED)  # the one generator of numpy whose numbers never change
    for name, tensors in shapes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({tensor: random_tensor(rng, tensor, tensors[tensor]) for tensor in sorted(tensors)}, path)


def shared_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of the tensors of VAE, text encoder, tagger and DAPE, by their names in published checkpoints."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    from .networks.tagger import published_shapes

    with torch.device("meta"):
        vae = AutoencoderKL(**CONFIGS["vae/config.json"])
        text = CLIPTextModel(CLIPTextConfig(**CONFIGS["text_encoder/config.json"]))
    ram = published_shapes(CONFIGS["ram/config.json"])
    return {
        "vae/diffusion_pytorch_model.safetensors": shapes_of(vae),
        "text_encoder/model.safetensors": {f"text_model.{name}": shape for name, shape in shapes_of(text).items()},
        "ram/ram.safetensors": ram,
        "ram/dape.safetensors": lora_shapes(ram),
    }


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def lora_shapes(ram: Mapping[str, tuple[int, ...]], rank: int = 8) -> dict[str, tuple[int, ...]]:
    """The shapes of DAPE's low-rank matrices by their names, from the shapes of RAM's tensors by theirs."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in ram.items():
        module = name.removesuffix(".weight")
        if name.endswith(".attn.qkv.weight"):
            found |= {f"{module}.lora_A": (2 * rank, shape[1]), f"{module}.lora_B": (shape[0] // 3 * 2, rank)}
        elif name.endswith(("crossattention.self.query.weight", "crossattention.self.key.weight")):
            found |= {f"{module}.lora_A": (rank, shape[1]), f"{module}.lora_B": (shape[0], rank)}
    return found


def random_tensor(rng: np.random.RandomState, name: str, shape: tuple[int, ...]) -> Tensor:
    """A float16 tensor: norms' weights are 1, biases 0; others roughly keep the size of what goes through them."""
    if len(shape) < 2:
        is_scale = name.endswith("weight")
        return torch.full(shape, 1.0 if is_scale else 0.0, dtype=torch.float16)
    reach = 1 if name.endswith(("label_embed", "embedding.weight")) else math.sqrt(3 / math.prod(shape[1:]))
    reach *= FAINT if name == "decoder.conv_out.weight" or ".lora_B." in name else 1
    step = 2.0 ** round(math.log2(reach / _LEVELS))
    numbers = rng.randint(-_LEVELS, _LEVELS + 1, size=shape)
    return torch.from_numpy(numbers.astype(np.float32) * np.float32(step)).to(torch.float16)


def _vocabulary() -> dict[str, int]:
    """A token for each byte, one for each byte at the end of a word, and the two marks for begin and end; no merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    symbols = sorted(ByteLevel.alphabet())
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
