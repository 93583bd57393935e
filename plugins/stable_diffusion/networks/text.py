"""From words to the embeddings that steer the UNet: the prompt's text, and Stable Diffusion's text encoder (CLIP's)."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from srcache.errors import WeightsError, listed

from ..checkpoints import again, fit, read_json

KEPT = 64
"""How many prompts' embeddings are kept, those used last; so a run encodes its negative prompt once."""

WIDTH = 8
"""How many prompts go through the model at once on a GPU."""

_BEGIN, _END, _PAD = "<|startoftext|>", "<|endoftext|>", "!"
_MARK = re.compile(r"<\|.*\|>")
_SURPLUS = (r"embeddings\.position_ids",)


def prompt_text(tags: str, user: str, added: str = "") -> str:
    """The prompt as these engines write it: no blank before what is added, a comma where the user says nothing.

    >>> prompt_text("cat, tree", "", "clean, high-resolution, 8k")
    'cat, tree, ,clean, high-resolution, 8k'
    """
    return f"{tags}, {user},{added}"


class TextEncoder:
    """Stable Diffusion's text encoder: CLIP's text model with its tokenizer, and a memory of the prompts used last.

    All calls of the model have one shape: `width` prompts, filled up with empty ones. So a prompt's embeddings are the
    same bits whatever it is encoded with.

    Args:
        model: on any device, in any floating dtype.
        tokenizer: of the same vocabulary.
        width: how many prompts go through the model at once.

    Attributes:
        encoded: how many texts the model has been given so far.
    """

    def __init__(self, model: CLIPTextModel, tokenizer: CLIPTokenizer, width: int = WIDTH) -> None:
        self.model, self.width, self._tokenizer = model, width, tokenizer
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self.encoded = 0

    def to(self, device: torch.device | str) -> Self:
        """Move the model to a device."""
        self.model.to(device)
        self.forget()
        return self

    def forget(self) -> None:
        """Drop the embeddings that are kept, so that the next prompts are encoded anew."""
        self._kept.clear()

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """The last hidden states after the final norm; each different text is encoded once, and kept for later calls.

        Args:
            prompts: at least one; each is cut or filled up to 77 tokens.

        Returns:
            (N, 77, C) in the model's dtype, on its device.
        """
        new = [text for text in dict.fromkeys(prompts) if text not in self._kept]
        found = {text: self._kept[text] for text in prompts if text in self._kept}
        for start in range(0, len(new), self.width):
            texts = new[start : start + self.width]
            found.update(zip(texts, self._states(texts), strict=False))
        self.encoded += len(new)
        for text in dict.fromkeys(prompts):
            self._kept[text] = found[text]
            self._kept.move_to_end(text)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return torch.stack([found[text] for text in prompts])

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers, int64 (N, 77) on the CPU."""
        length = self.model.config.max_position_embeddings
        tokenized = self._tokenizer(list(prompts), padding="max_length", truncation=True, max_length=length)
        return torch.tensor(tokenized["input_ids"])

    def _states(self, texts: Sequence[str]) -> list[Tensor]:
        """The states of at most `width` texts, and of the empty ones that fill up the call."""
        filled = [*texts, *[""] * (self.width - len(texts))]
        device = self.model.device
        with torch.autocast(device.type, enabled=False):
            states = self.model(input_ids=self.tokens(filled).to(device)).last_hidden_state
        return [state.clone() for state in states]


def load_text_encoder(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    vocab: Path,
    merges: Path,
    dtype: torch.dtype,
    width: int = WIDTH,
) -> TextEncoder:
    """Build the text encoder, on the CPU.

    Args:
        config: of transformers' CLIPTextModel, as in its `config.json`.
        tensors: of the checkpoint, with or without `text_model.` in front of their names.
        vocab: the tokenizer's `vocab.json`.
        merges: its `merges.txt`.
        dtype: of weights and embeddings.
        width: how many prompts go through the model at once.

    Raises:
        WeightsError: tensors or tokens do not fit the model.
    """
    settings = CLIPTextConfig.from_dict(dict(config))
    with torch.device("meta"):
        model = CLIPTextModel(settings)
    fit(model, {name.removeprefix("text_model."): each for name, each in tensors.items()}, "the text encoder", _SURPLUS)
    positions = torch.arange(settings.max_position_embeddings)[None]
    model.embeddings.register_buffer("position_ids", positions, persistent=False)
    model.to(dtype).eval().requires_grad_(False)
    return TextEncoder(model, _tokenizer(vocab, merges, settings.vocab_size), width)


def _tokenizer(vocab: Path, merges: Path, size: int) -> CLIPTokenizer:
    """Stable Diffusion 2's, which fills up with `!` and not with the end token, as the first CLIP did."""
    numbers = read_json(vocab)
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{merges} cannot be read ({error}); {again(merges)}") from error
    pairs = [tuple(line.split()) for line in lines[lines[0].startswith("#version") :] if line]
    _require_numbers(vocab, numbers)
    lacking = [token for token in (_BEGIN, _END, _PAD) if token not in numbers]
    if lacking or max(numbers.values()) >= size:
        raise WeightsError(
            f"{vocab} does not fit the text encoder: it has numbers to {max(numbers.values())} of {size}, "
            f"and lacks {', '.join(lacking) or 'no token'}; {again(vocab)}"
        )
    _require_whole(vocab, merges, numbers, pairs)
    return CLIPTokenizer(vocab=numbers, merges=pairs, bos_token=_BEGIN, eos_token=_END, unk_token=_END, pad_token=_PAD)


def _require_numbers(vocab: Path, numbers: Mapping[str, Any]) -> None:
    if not numbers or not all(isinstance(number, int) for number in numbers.values()):
        raise WeightsError(f"{vocab} is no vocabulary, which has a number for each token; {again(vocab)}")


def _require_whole(vocab: Path, merges: Path, numbers: Mapping[str, Any], pairs: Sequence[tuple[str, ...]]) -> None:
    """Refuse a vocabulary and merges that do not belong together: each longer token is what a merge makes.

    Raises:
        WeightsError: one of the files is cut short, or is no such file.
    """
    odd = [pair for pair in pairs if len(pair) != 2]
    if odd:
        raise WeightsError(f"{merges} is no list of merges: a line is {' '.join(odd[0])[:60]!r}; {again(merges)}")
    made = {"".join(pair) for pair in pairs}
    unmade = [token for token in numbers if len(token.removesuffix("</w>")) > 1 and not _MARK.fullmatch(token)]
    unmade = [token for token in unmade if token not in made]
    unknown = [token for token in made if token not in numbers]
    for path, lacks, what in ((merges, unmade, "merges"), (vocab, unknown, "tokens")):
        if lacks:
            raise WeightsError(f"{path} lacks {len(lacks)} {what}, for {listed(lacks, 3)}; {again(path)}")
