"""Which variant of an image a training step sees: a pure function of (policy seed, epoch, image key).

A policy is written as weights, `lr=0.5,sr=0.5`; a lone name weighs 1 (`sr`); `sr#2` is sample 2 and `sr` any sample.
Weights may change with the epoch: `0: lr; 10: lr=0.5,sr=0.5` trains on LR for ten epochs, then on both. The order in
which variants are written changes nothing.
"""

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from srcache.errors import PolicyError

KINDS = ("hr", "lr", "sr")
_TERM = re.compile(r"(?P<kind>[a-z]+)(?:#(?P<sample>\d{1,3}))?(?:=(?P<weight>[^=]+))?")


@dataclass(frozen=True, slots=True)
class Variant:
    """What to serve for one image: `hr`, `lr`, or `sr` with a sample's index (None for hr and lr)."""

    kind: str
    sample: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One weighted choice; `sample` None means any sample of `sr`."""

    kind: str
    sample: int | None
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Weighted choices, from given epochs on. Build one with `Policy.parse`."""

    stages: tuple[tuple[int, tuple[Term, ...]], ...]
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> "Policy":
        """Read a policy's text.

        Raises:
            PolicyError: unknown variants, weights that are not positive numbers, or stages out of order.
        """
        parts = [part for part in text.split(";") if part.strip()]
        if not parts:
            raise PolicyError("a policy is written like lr=0.5,sr=0.5, but got an empty text")
        stages = tuple(_stage(part, alone=len(parts) == 1) for part in parts)
        starts = [start for start, _ in stages]
        if starts != sorted(set(starts)) or starts[0] != 0:
            raise PolicyError(f"a policy's stages must start at epoch 0 and rise, but start at {starts}")
        return cls(stages=stages, seed=seed)

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of variant that this policy can ask for, at any epoch."""
        return frozenset(term.kind for _, terms in self.stages for term in terms)

    def is_constant(self, samples: int) -> bool:
        """Whether neither chance nor the epoch decides, where the cache holds `samples` samples per image."""
        terms = {(term.kind, term.sample if samples > 1 else None) for _, terms in self.stages for term in terms}
        return len(terms) == 1 and (samples == 1 or terms not in [{("sr", None)}])

    @property
    def samples(self) -> int:
        """How many samples per image it takes to serve the highest sample that is named."""
        return 1 + max((term.sample or 0 for _, terms in self.stages for term in terms), default=0)

    def pick(self, key: str, epoch: int, samples: int = 1) -> Variant:
        """The variant of image `key` at `epoch`, where the cache holds `samples` samples per image.

        The same for any number of workers, in any order, after any restart.
        """
        terms = next(terms for start, terms in reversed(self.stages) if start <= max(0, epoch))
        first, second = _dice(f"{self.seed}/{epoch}/{key}")
        sums = list(accumulate(term.weight for term in terms))
        term = terms[bisect_right(sums, first * sums[-1], hi=len(terms) - 1)]
        if term.kind != "sr":
            return Variant(term.kind)
        return Variant("sr", int(second * samples) if term.sample is None else term.sample)


def _dice(name: str) -> tuple[float, float]:
    """Two independent numbers in [0, 1), a pure function of a text on every version of Python."""
    digest = blake2b(name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:6], "big") / 2**48, int.from_bytes(digest[6:12], "big") / 2**48


def _stage(text: str, alone: bool) -> tuple[int, tuple[Term, ...]]:
    start, colon, terms = text.rpartition(":")
    if colon and not start.strip().isdecimal():
        raise PolicyError(f"a policy's stage is written epoch: weights, such as 10: sr=1, but got {text.strip()!r}")
    if not colon and not alone:
        raise PolicyError(f"with several stages each needs its first epoch, such as 10: sr=1, but got {text.strip()!r}")
    read = sorted((_term(part.strip()) for part in terms.split(",")), key=_rank)
    if len({_rank(term) for term in read}) != len(read):
        raise PolicyError(f"each variant may be named once, but got {terms.strip()!r}")
    if not math.isfinite(sum(term.weight for term in read)):
        raise PolicyError(f"a policy's weights must have a finite sum, but got {terms.strip()!r}")
    return int(start) if colon else 0, tuple(read)


def _rank(term: Term) -> tuple[str, int]:
    return term.kind, -1 if term.sample is None else term.sample


def _term(text: str) -> Term:
    found = _TERM.fullmatch(text.replace(" ", ""))
    if not found or found["kind"] not in KINDS:
        raise PolicyError(f"a policy is made of hr, lr and sr with weights, such as lr=0.5,sr=0.5, but got {text!r}")
    if found["sample"] and found["kind"] != "sr":
        raise PolicyError(f"only sr has samples, but got {text!r}")
    return Term(kind=found["kind"], sample=int(found["sample"]) if found["sample"] else None, weight=_weight(found))


def _weight(found: "re.Match[str]") -> float:
    text = found["weight"] or "1"
    try:
        weight = float(text)
    except ValueError as error:
        raise PolicyError(f"a policy's weight must be a number, but got {text!r}") from error
    if not 0 < weight < math.inf:
        raise PolicyError(
            f"a policy's weight must be above 0 and finite, but got {text!r}; leave the variant out instead"
        )
    return weight
