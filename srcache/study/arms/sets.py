"""Training, validation and test set of one run; leaks refused."""

from collections.abc import Mapping
from dataclasses import dataclass

from srcache.errors import CatalogError, listed
from srcache.study.arms.arms import ArmDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSets:
    """What is trained on, what the best epoch is told by, and, if wanted, what is looked at once at the end.

    Raises:
        CatalogError: a set is empty or has no labels, classes that training has not, or pictures of another set.
    """

    train: ArmDataset
    validation: ArmDataset
    test: ArmDataset | None = None

    def __post_init__(self) -> None:
        for name, data in self.named.items():
            if not len(data) or None in data.labels:
                raise CatalogError(f"expected a {name} set with a class for every picture, but got {data!r}")
            strange = sorted(set(data.classes) - set(self.train.classes))
            if strange:
                raise CatalogError(
                    f"the {name} set has classes that the training set has not: {listed(strange)}; "
                    f"that has {listed(self.train.classes)}"
                )
        _refuse_leaks(self.named)

    @property
    def named(self) -> dict[str, ArmDataset]:
        """The sets that there are, by name."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: data for name, data in sets.items() if data is not None}


def _refuse_leaks(sets: Mapping[str, ArmDataset]) -> None:
    """Equal pictures in two sets make what is measured on one of them worthless."""
    seen: dict[str, str] = {}
    leaks = []
    for name, data in sets.items():
        mine = {key: f"{name}/{picture}" for key, picture in zip(data.keys, data.names, strict=True)}
        leaks += [f"{seen[key]} = {place}" for key, place in mine.items() if key in seen]
        seen |= mine
    if leaks:
        raise CatalogError(f"{len(leaks)} pictures are in two sets (equal keys), which would leak: {listed(leaks)}")
