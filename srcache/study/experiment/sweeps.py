"""Sweeps: curves of accuracy over one quantity, as arms that are trained like any other.

    sweep:
      mixture: {over: share, values: [0, 25, 50, 75, 100], arms: [mix], domains: [bicubic, sr]}
      few: {over: per_class, values: [4, 16, 64, all], arms: [bicubic, sr], epochs: [120, 60, 20, 20]}

Each value of each named arm is an arm again: of the mixture `lr=0.5,sr=0.5`, 25 per cent is `lr=0.75,sr=0.25`, 0 is
`lr` and 100 is `sr`. A point that is the same training as an arm of the experiment, or as another point, is that one.
`beside: {patch: 50}` draws the arm `patch` as it is, at 50.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from srcache.dataset.policy import Policy, Term
from srcache.errors import ConfigError, Mistakes
from srcache.study.experiment.config import ALL, DOMAINS, NAME, SWEEPS, ArmChoice, Experiment, SweepChoice
from srcache.wording import counted

MOST_CURVES = 6
"""As many as can be told apart in one plot."""
_EXAMPLES = {"share": "[0, 25, 50, 75, 100]", "per_class": "[4, 16, 64, all]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One curve of a sweep: the arm that it is made of, what it is measured on, and each point's value and arm."""

    arm: ArmChoice
    domain: str
    points: tuple[tuple[float | str, ArmChoice], ...]


def curves(experiment: Experiment) -> dict[str, tuple[Curve, ...]]:
    """The curves of every sweep by its name; what is the same training is the same arm."""
    known = {training_of(arm): arm for arm in experiment.arms}
    named = {arm.name: arm for arm in experiment.arms}
    found = {}
    for name, sweep in experiment.sweep.items():
        drawn = []
        for arm in (named[one] for one in sweep.arms):
            made = [_point(name, sweep, arm, at) for at in range(len(sweep.values))]
            arms = [known.setdefault(training_of(point), point) for point in made]
            points = tuple(zip(sweep.values, arms, strict=True))
            drawn += [Curve(arm=arm, domain=one, points=points) for one in sweep.domains or (arm.domain,)]
        for arm, value in ((named[one], value) for one, value in sweep.beside.items()):
            drawn += [Curve(arm=arm, domain=one, points=((value, arm),)) for one in sweep.domains or (arm.domain,)]
        found[name] = tuple(drawn)
    return found


def trained_arms(experiment: Experiment) -> tuple[ArmChoice, ...]:
    """All that is trained: the arms, then the points of sweeps that are none of them."""
    points = [point for drawn in curves(experiment).values() for curve in drawn for _, point in curve.points]
    return tuple({arm.name: arm for arm in (*experiment.arms, *points)}.values())


def second_kind(arm: str) -> str:
    """Of what a sweep over shares varies the share: the second kind of a mixture of two.

    Raises:
        ConfigError: the arm is something else.
    """
    return _two_terms(arm)[1].name


def require_images(experiment: Experiment, balance: Mapping[str, int]) -> None:
    """Refuse points for which the training images do not suffice, or that are all of them under another name.

    Args:
        experiment: the arms and sweeps.
        balance: training images of each class.

    Raises:
        ConfigError: all of them.
    """
    mistakes = Mistakes()
    wanted = [(f"sweep.{name}", one) for name, sweep in experiment.sweep.items() for one in _counts(sweep)]
    wanted += [(f"arms.{arm.name}", arm.per_class) for arm in experiment.arms if arm.per_class is not None]
    for what, count in wanted:
        few = [f"{name} has {held}" for name, held in balance.items() if held < count]
        mistakes.require(not few, f"{what}: {counted(count, 'training image')} of each class, but {', '.join(few)}")
    for name, sweep in experiment.sweep.items():
        same = ALL in sweep.values and max(_counts(sweep), default=0) >= max(balance.values())
        mistakes.require(
            not same, f"sweep.{name}: {max(_counts(sweep), default=0)} of each class is all; leave one out"
        )
    mistakes.raise_as(ConfigError, "the training images do not suffice, or not all counts differ")


def read_sweeps(
    plain: Any, arms: Mapping[str, ArmChoice | None], further: Sequence[str], mistakes: Mistakes
) -> dict[str, SweepChoice]:
    """The sweeps of an experiment from YAML values; what cannot be is noted.

    Args:
        plain: the values.
        arms: by name; None for one that has mistakes of its own.
        further: names of the further recipes.
        mistakes: where to note.
    """
    if plain is not None and not isinstance(plain, dict):
        mistakes.note(f"sweep must be a mapping of names, each with over, values and arms, but is {plain!r}")
        return {}
    found = {str(name): _read(f"sweep.{name}", one, arms, further, mistakes) for name, one in (plain or {}).items()}
    for name in found:
        mistakes.require(
            NAME.fullmatch(name), f"a sweep needs a name of letters and digits, but one is called {name!r}"
        )
    folded = [name.casefold() for name in found]
    for name in sorted({name for name in folded if folded.count(name) > 1}):
        mistakes.note(f"two sweeps are called {name}")
    return {name: sweep for name, sweep in found.items() if sweep is not None}


def _read(
    what: str, plain: Any, arms: Mapping[str, ArmChoice | None], further: Sequence[str], mistakes: Mistakes
) -> SweepChoice | None:
    before = len(mistakes.found)
    if not isinstance(plain, dict):
        mistakes.note(f"{what} must be a mapping with over, values and arms, but is {plain!r}")
        return None
    known = [f.name for f in fields(SweepChoice)]
    for name in plain:
        mistakes.require(name in known, f"there is no {what}.{name}; known: {', '.join(known)}")
    over, values = str(plain.get("over")), plain.get("values")
    mistakes.require(over in SWEEPS, f"{what}.over must be one of {', '.join(SWEEPS)}, but is {over!r}")
    if over in SWEEPS:
        _check_values(f"{what}.values", over, values, mistakes)
    names, domains, epochs = (_list(plain.get(name)) for name in ("arms", "domains", "epochs"))
    mistakes.require(names, f"{what}.arms must name the arms that curves are made of")
    _check_names(f"{what}.arms", names, list(arms) or None, mistakes)
    _check_names(f"{what}.domains", domains, (*DOMAINS, *further), mistakes)
    if len(mistakes.found) > before:
        return None
    for name in names if over == "share" else ():
        if (arm := arms[name]) is not None:
            with mistakes.noting(f"{what}.arms: {name}: "):
                second_kind(arm.arm)
    beside = _read_beside(f"{what}.beside", plain.get("beside"), values or [], list(arms), mistakes)
    for name in names:
        mistakes.require(name not in beside, f"{what}.beside: {name} has a curve already")
    count = (len(names) + len(beside)) * max(1, len(domains))
    mistakes.require(
        count <= MOST_CURVES, f"{what} has {count} curves (arms × domains), but a plot shows {MOST_CURVES} at most"
    )
    given = list(values or [])
    good = isinstance(epochs, list) and len(epochs) in (0, len(given)) and all(map(_is_count, epochs))
    mistakes.require(good, f"{what}.epochs must be {len(given)} integers, one for each value, but is {epochs!r}")
    if len(mistakes.found) > before:
        return None
    return SweepChoice(
        over=over,
        values=tuple(given),
        arms=tuple(names),
        domains=tuple(domains),
        epochs=tuple(map(int, epochs)),
        beside=beside,
    )


def _read_beside(
    what: str, plain: Any, values: Sequence[Any], arms: Sequence[str], mistakes: Mistakes
) -> dict[str, float | str]:
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        mistakes.note(f"{what} must be a mapping of arms to values, but is {plain!r}")
        return {}
    _check_names(what, list(plain), arms, mistakes)
    for name, value in plain.items():
        known = ", ".join(map(str, values))
        good = value in values and not isinstance(value, bool)
        mistakes.require(good, f"{what}.{name} must be one of the values {known}, but is {value!r}")
    return dict(plain)


def _check_values(what: str, over: str, values: Any, mistakes: Mistakes) -> None:
    if not isinstance(values, list) or len(values) < 2:
        mistakes.note(f"{what} must be a list of two or more, such as {_EXAMPLES[over]}, but is {values!r}")
        return
    good = _is_share if over == "share" else _is_count
    kind = "per cent from 0 to 100" if over == "share" else f"an integer of at least 1, or, at the end, {ALL}"
    numbers = [one for one in values if good(one)]
    for at, one in enumerate(values):
        last = over == "per_class" and at == len(values) - 1 and one == ALL
        mistakes.require(good(one) or last, f"{what}: each must be {kind}, but one is {one!r}")
    repeated = sorted({one for one in numbers if numbers.count(one) > 1})
    mistakes.require(not repeated, f"{what}: {', '.join(f'{one:g}' for one in repeated)} is there more than once")
    mistakes.require(numbers == sorted(numbers), f"{what} must rise, but is {values}")


def _check_names(what: str, names: Any, known: Sequence[str] | None, mistakes: Mistakes) -> None:
    """Names in a list, all known (where that can be said) and different."""
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        mistakes.note(f"{what} must be a list of names, but is {names!r}")
        return
    for name in dict.fromkeys(names):
        if known is not None and name not in known:
            mistakes.note(f"{what}: there is no {name}; there is {', '.join(known)}")
        mistakes.require(names.count(name) == 1, f"{what}: {name} is there more than once")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


def _is_count(value: Any) -> bool:
    """Whether it is an integer of at least 1; 5.0 is one, as in a schema."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < 2**31 and value == int(value)


def _list(value: Any) -> Any:
    """A list that may be left out."""
    return [] if value is None else value


def _counts(sweep: SweepChoice) -> list[int]:
    return [int(one) for one in sweep.values if one != ALL] if sweep.over == "per_class" else []


def _point(name: str, sweep: SweepChoice, arm: ArmChoice, at: int) -> ArmChoice:
    """The arm of a point; no other arm can have its name."""
    value = sweep.values[at]
    settings = replace(arm.settings, epochs=sweep.epochs[at]) if sweep.epochs else arm.settings
    made = replace(arm, name=f"{arm.name}@{name}-{value}", settings=settings)
    if sweep.over == "per_class":
        return replace(made, per_class=None if value == ALL else int(value))
    return replace(made, arm=_mixture(arm.arm, float(value)))


def _mixture(arm: str, share: float) -> str:
    """A mixture of two with another share, in per cent, of the second; with all of one, that one alone."""
    parts = zip(_two_terms(arm), (100 - share, share), strict=True)
    terms = [replace(term, weight=round(part / 100, 6)) for term, part in parts if part > 0]
    if len(terms) == 1:
        return terms[0].name
    return ",".join(map(str, terms))


def _two_terms(arm: str) -> tuple[Term, ...]:
    stages = Policy.parse(arm).stages
    if len(stages) != 1 or len(stages[0][1]) != 2:
        raise ConfigError(f"a share is one of a mixture of two, such as lr=0.5,sr=0.5, but the arm is {arm}")
    return stages[0][1]


def training_of(arm: ArmChoice) -> tuple[Any, ...]:
    """What makes two arms the same training, whatever they are called and measured on."""
    recipe = None if arm.arm in ("lr", "hr") else arm.recipe
    return arm.arm if arm.arm in DOMAINS else tuple(_shares(arm.arm)), recipe, arm.settings, arm.per_class


def _shares(arm: str) -> Iterator[Any]:
    """A policy's stages with weights that add up to 1."""
    for start, terms in Policy.parse(arm).stages:
        total = sum(term.weight for term in terms)
        yield start, tuple(replace(term, weight=round(term.weight / total, 9)) for term in terms)
