"""Which variant of an image a training step sees: a pure function of (policy seed, epoch, image key).

A policy is written as weights, `lr=0.5,sr=0.5`; a name alone has the weight 1 (`sr`); `sr#2` is sample 2 and `sr` any
sample. Weights may change with the epoch: `0: lr; 10: lr=0.5,sr=0.5` trains on LR for ten epochs, then on both. The
order in which variants are written changes nothing.

`sr` may be filtered by what was measured of each SR image (see `scores`): `lr=0.5,sr[safe>0.9]=0.5`. The term counts
for images whose numbers fit. Any other image, and one that was never measured, is left to the other terms, in
proportion to their weights. `sr` without a number draws from the samples that fit. Several conditions are joined by
`&`: `sr[safe>0.5&back_projection>=30]`. The choice is then a pure function of (policy seed, epoch, key, those numbers),
and for an image of which everything fits, the same as without filters.

Two variants of one image may be mixed, by `patch(lr,sr)` and `blend(lr,sr)`, with parameters inside the parentheses and
the weight behind them: `sr=0.5,patch(lr,sr,grid=8,share=0.25)=0.5`; see `variants`. Any two of hr, lr, sr and sr#2 are
mixed, in the size of SR or HR: LR is enlarged to it by Pillow's bicubic filter; with `size=` both are resized first.
Filters stand at the variant, `patch(lr,sr[safe>0.9])`; the term then counts for images that pass all of them.
"""

import math
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from srcache.dataset.variants import MIXED, Mixing, mixing_text, number, parse_mixing, uniform_pair
from srcache.dataset.variants import Variant as Variant
from srcache.errors import PolicyError

KINDS = ("hr", "lr", "sr")
COLUMNS = ("safe", "agree", "feature_distance", "back_projection", "back_projection_error")
"""The numbers that a filter may ask for; `safety` says what they are."""

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TERM = re.compile(r"(?P<kind>[a-z]+)(?:#(?P<sample>\d{1,3}))?(?:\[(?P<filter>[^\]]*)\])?(?:=(?P<weight>[^=]+))?")
_MIXED = re.compile(rf"(?P<kind>{'|'.join(MIXED)})\((?P<inside>[^()]*)\)(?:=(?P<weight>[^=]+))?")
_BETWEEN_TERMS = re.compile(r",(?![^()]*\))")
_CONDITION = re.compile(r"(?P<column>[a-z_]+)(?P<sign>>=|<=|>|<)(?P<bound>[^<>=]+)")


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One bound on one of `COLUMNS`, such as safe>0.9."""

    column: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{number(self.bound)}"

    def holds(self, value: float) -> bool:
        """Whether a number fits; what was not measured (NaN) never does."""
        return _SIGNS[self.sign](value, self.bound)


Filter = tuple[Condition, ...]
"""Conditions that must all hold, sorted; none for a term that always counts."""

Passing = Callable[[str, Filter], Sequence[int]]
"""(image key, filter) → the samples of that image that fit, rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One weighted choice; `sample` None means any sample of `sr`. It counts for images that pass its filter.

    Attributes:
        parts: the two variants that are mixed; none for a variant alone.
        mixing: how they are.
    """

    kind: str
    sample: int | None
    weight: float
    filter: Filter = ()
    parts: "tuple[Term, ...]" = ()
    mixing: Mixing | None = None

    def __str__(self) -> str:
        return f"{self.name}={number(self.weight)}"

    @property
    def name(self) -> str:
        """The term without its weight."""
        if self.mixing is not None:
            return f"{self.kind}({','.join(part.name for part in self.parts)}{mixing_text(self.mixing)})"
        sample = "" if self.sample is None else f"#{self.sample}"
        conditions = f"[{filter_text(self.filter)}]" if self.filter else ""
        return f"{self.kind}{sample}{conditions}"

    @property
    def alone(self) -> "tuple[Term, ...]":
        """The variants that it takes, each by itself."""
        return self.parts or (self,)

    @property
    def is_filtered(self) -> bool:
        """Whether it counts for some images only."""
        return any(part.filter for part in self.alone)

    def variant(self, drawn: str, place: float, choices: Sequence[Sequence[int]]) -> Variant:
        """What is served: of each of `alone`, the choice at a place in [0, 1); mixed as the text `drawn` says."""
        if self.mixing is None:
            return Variant(self.kind, choices[0][int(place * len(choices[0]))] if self.kind == "sr" else None)
        first, second = (part.variant(drawn, place, [one]) for part, one in zip(self.parts, choices, strict=True))
        return self.mixing.draw(drawn, (first, second))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which variant of an image is served at which epoch: weighted choices, from given epochs on.

    Made by `Policy.parse`; `str` gives a text that `parse` reads.

    Attributes:
        stages: (first epoch, weighted terms), by epoch; the first begins at 0.
        seed: another seed gives other choices with the same shares.
    """

    stages: tuple[tuple[int, tuple[Term, ...]], ...]
    seed: int = 0

    def __str__(self) -> str:
        stages = [(start, ",".join(map(str, terms))) for start, terms in self.stages]
        return stages[0][1] if len(stages) == 1 else "; ".join(f"{start}: {terms}" for start, terms in stages)

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> "Policy":
        """Read a policy's text.

        Raises:
            PolicyError: unknown variants, weights that are not positive numbers, filters that make no sense, or stages
                out of order.
        """
        parts = [part for part in text.split(";") if part.strip()]
        if not parts:
            raise PolicyError("a policy is written like lr=0.5,sr=0.5, but got an empty text")
        stages = tuple(_stage(part, alone=len(parts) == 1) for part in parts)
        starts = [start for start, _ in stages]
        if starts != sorted(set(starts)) or starts[0] != 0:
            raise PolicyError(f"a policy's stages must start at epoch 0 and rise, but start at {starts}")
        return cls(stages=stages, seed=seed)

    @classmethod
    def of(cls, policy: "str | Policy", seed: int = 0) -> "Policy":
        """A policy that was given as text, with this seed, or as itself.

        Raises:
            PolicyError: as `parse`; or it is neither.
        """
        if isinstance(policy, Policy):
            return policy
        if not isinstance(policy, str):
            raise PolicyError(f"a policy is a text like lr=0.5,sr=0.5, or a Policy, but got {policy!r}")
        return cls.parse(policy, seed)

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of image (hr, lr, sr) that this policy can ask for, alone or in a mixture, at any epoch."""
        return frozenset(part.kind for part in self._parts())

    @property
    def mixes(self) -> frozenset[str]:
        """Every kind of mixture that this policy can ask for: `patch`, `blend`."""
        return frozenset(term.kind for _, terms in self.stages for term in terms if term.mixing is not None)

    @property
    def filters(self) -> tuple[Filter, ...]:
        """Every filter, once, sorted; empty if the choice depends on no measurement."""
        return tuple(sorted({part.filter for part in self._parts() if part.filter}))

    def is_constant(self, samples: int) -> bool:
        """Whether neither chance nor the epoch decides, where the cache holds `samples` samples per image."""
        terms = {
            (*((part.kind, part.sample if samples > 1 else None) for part in term.alone), term.mixing)
            for _, terms in self.stages
            for term in terms
        }
        if len(terms) > 1 or any(term.mixing and not term.mixing.is_fixed for term in self.stages[0][1]):
            return False
        return samples == 1 or not self.draws_samples

    @property
    def draws_samples(self) -> bool:
        """Whether it leaves open which sample of SR is served, so that their number matters."""
        return any(part.kind == "sr" and part.sample is None for part in self._parts())

    @property
    def samples(self) -> int:
        """How many samples per image it takes to serve the highest sample that is named."""
        return 1 + max((part.sample or 0 for part in self._parts()), default=0)

    def pick(self, key: str, epoch: int, samples: int = 1, passing: Passing | None = None) -> Variant:
        """The variant of image `key` at `epoch`, where the cache holds `samples` samples per image.

        The same for any number of workers, in any order, after any restart. `passing` answers the policy's filters.

        Raises:
            PolicyError: filters leave nothing for this image, or there is nothing that answers them.
        """
        terms = next(terms for start, terms in reversed(self.stages) if start <= max(0, epoch))
        left = [(term, choices) for term in terms if (choices := _choices(term, key, samples, passing))]
        if not left:
            raise PolicyError(f"the policy {self} leaves nothing for image {key} at epoch {epoch}; add a plain lr term")
        drawn = f"{self.seed}/{epoch}/{key}"
        first, second = uniform_pair(drawn)
        sums = list(accumulate(term.weight for term, _ in left))
        term, choices = left[bisect_right(sums, first * sums[-1], hi=len(left) - 1)]
        return term.variant(drawn, second, choices)

    def serves(self, key: str, samples: int, passing: Passing) -> bool:
        """Whether something is left for image `key` at every epoch."""
        return all(any(_choices(term, key, samples, passing) for term in terms) for _, terms in self.stages)

    @property
    def serves_all(self) -> bool:
        """Whether something is left for every image at every epoch, whatever was measured."""
        return all(any(not term.is_filtered for term in terms) for _, terms in self.stages)

    def _parts(self) -> Iterator[Term]:
        """Every variant that is named, alone or in a mixture."""
        return (part for _, terms in self.stages for term in terms for part in term.alone)


def parse_filter(text: str) -> Filter:
    """Read conditions, such as `safe>0.9` or `safe>0.5&agree>=0.8`.

    Raises:
        PolicyError: they make no sense.
    """
    return tuple(sorted({_condition(part) for part in text.replace(" ", "").split("&")}))


def filter_text(conditions: Filter) -> str:
    """A filter as `parse_filter` reads it."""
    return "&".join(map(str, conditions))


def _choices(term: Term, key: str, samples: int, passing: Passing | None) -> list[Sequence[int]]:
    """The samples that each variant of a term may be served as (hr and lr: one); empty if the image does not pass."""
    if not term.parts:
        return [found] if (found := _passing_samples(term, key, samples, passing)) else []
    each = [_passing_samples(part, key, samples, passing) for part in term.parts]
    return each if all(each) else []


def _passing_samples(term: Term, key: str, samples: int, passing: Passing | None) -> Sequence[int]:
    if not term.filter:
        return range(samples) if term.sample is None else (term.sample,)
    if passing is None:
        raise PolicyError(f"the policy's term {term} asks for measurements of each image, but none were given")
    fits = passing(key, term.filter)
    if term.sample is None:
        return [sample for sample in fits if sample < samples]
    return (term.sample,) if term.sample in fits else ()


def _stage(text: str, alone: bool) -> tuple[int, tuple[Term, ...]]:
    start, colon, terms = text.rpartition(":")
    if colon and not start.strip().isdecimal():
        raise PolicyError(f"a policy's stage is written epoch: weights, such as 10: sr=1, but got {text.strip()!r}")
    if not colon and not alone:
        raise PolicyError(f"with several stages each needs its first epoch, such as 10: sr=1, but got {text.strip()!r}")
    read = sorted((_term(part.strip()) for part in _BETWEEN_TERMS.split(terms)), key=_rank)
    if len({_rank(term) for term in read}) != len(read):
        raise PolicyError(f"each variant may be named once, but got {terms.strip()!r}")
    if not math.isfinite(sum(term.weight for term in read)):
        raise PolicyError(f"a policy's weights must have a finite sum, but got {terms.strip()!r}")
    return int(start) if colon else 0, tuple(read)


def _rank(term: Term) -> tuple[str, int, Filter, str]:
    """By this, terms are sorted and told apart."""
    return term.kind, -1 if term.sample is None else term.sample, term.filter, term.name if term.parts else ""


def _term(text: str) -> Term:
    if text.startswith(MIXED):
        return _mixed_term(text)
    found = _TERM.fullmatch(text.replace(" ", ""))
    if not found or found["kind"] not in KINDS:
        raise PolicyError(
            f"a policy is made of hr, lr and sr with weights, such as lr=0.5,sr=0.5 or lr=0.5,sr[safe>0.9]=0.5, "
            f"but got {text!r}"
        )
    if found["sample"] and found["kind"] != "sr":
        raise PolicyError(f"only sr has samples, but got {text!r}")
    if found["filter"] is not None and found["kind"] != "sr":
        raise PolicyError(f"only sr can be filtered, but got {text!r}")
    return Term(
        kind=found["kind"],
        sample=int(found["sample"]) if found["sample"] else None,
        weight=_weight(found),
        filter=parse_filter(found["filter"]) if found["filter"] is not None else (),
    )


def _mixed_term(text: str) -> Term:
    found = _MIXED.fullmatch("".join(text.split()))
    if not found:
        raise PolicyError(
            "two variants are mixed by patch(lr,sr) or blend(lr,sr), with the weight behind, such as "
            f"patch(lr,sr)=0.5, but got {text!r}"
        )
    kind, inside = found["kind"], found["inside"].split(",")
    if len(inside) < 2 or any(_TERM.fullmatch(one) is None for one in inside[:2]):
        raise PolicyError(f"{kind} mixes two variants, such as {kind}(lr,sr), but got {text!r}")
    parts = tuple(_mixed_part(one, text) for one in inside[:2])
    first, second = parts
    if (first.kind, first.sample) == (second.kind, second.sample):
        raise PolicyError(f"{kind} mixes two different variants, but got {text!r}")
    if first.kind == second.kind and None in (first.sample, second.sample):
        raise PolicyError(
            f"{kind} mixes two different variants, and sr alone may be either of its samples; name both, such as "
            f"{kind}(sr#0,sr#1), but got {text!r}"
        )
    return Term(kind=kind, sample=None, weight=_weight(found), parts=parts, mixing=parse_mixing(kind, inside[2:]))


def _mixed_part(part: str, text: str) -> Term:
    """One of the two variants of a mixture; it has no weight of its own."""
    if part == "bicubic":
        raise PolicyError(f"in a mixture, lr is enlarged (bicubic) by itself; write lr instead of bicubic in {text!r}")
    if "=" in re.sub(r"\[[^\]]*\]", "", part) or part.startswith(MIXED):
        raise PolicyError(
            f"a mixture has two variants without weights, and its own weight behind the parentheses, but got {text!r}"
        )
    return _term(part)


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if not found or found["column"] not in COLUMNS:
        raise PolicyError(
            f"a filter is a number's name, one of > >= < <=, and a bound, such as safe>0.9, joined by &; "
            f"the names are {', '.join(COLUMNS)}; but got {text!r}"
        )
    try:
        bound = float(found["bound"])
    except ValueError as error:
        raise PolicyError(f"a filter's bound must be a number, but got {text!r}") from error
    if not math.isfinite(bound):
        raise PolicyError(f"a filter's bound must be finite, but got {text!r}")
    return Condition(found["column"], found["sign"], bound)


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
