"""The training, validation and test set of one run; and the rule that no image may be in two of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from srcache.errors import CatalogError, ImageError, MissError, listed
from srcache.study.arms.arms import ArmDataset
from srcache.wording import enumeration


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSets:
    """The sets of one training, checked: all images have classes that training knows, and no image is in two sets.

    Attributes:
        train: what the network learns from.
        validation: what the best epoch is chosen by.
        test: what is measured once, at the end; None leaves that out.

    Raises:
        CatalogError: a set is empty or has no labels, has classes that training has not, or images of another set.
    """

    train: ArmDataset
    validation: ArmDataset
    test: ArmDataset | None = None

    def __post_init__(self) -> None:
        for name, data in self.named.items():
            if not len(data) or None in data.labels:
                raise CatalogError(f"expected a {name} set with a class for every image, but got {data}")
            unknown = sorted(set(data.classes) - set(self.train.classes))
            if unknown:
                raise CatalogError(
                    f"the {name} set has classes that the training set has not: {listed(unknown)}; "
                    f"that has {listed(self.train.classes)}"
                )
        require_no_leaks({name: _images(data) for name, data in self.named.items()}, self._is_readable)

    def _is_readable(self, set_name: str, name: str) -> bool:
        data = self.named[set_name]
        try:
            data.check(data.names.index(name), (0,))
        except (ImageError, MissError):
            return False
        return True

    @property
    def named(self) -> dict[str, ArmDataset]:
        """The sets that there are, by name."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: data for name, data in sets.items() if data is not None}


def _images(data: ArmDataset) -> Iterable[tuple[str, str]]:
    return zip(data.keys, data.names, strict=True)


def require_no_leaks(
    sets: Mapping[str, Iterable[tuple[str, str]]], is_image: Callable[[str, str], bool] = lambda _set, _name: True
) -> None:
    """Refuse equal images in two sets: what is measured on one of them would be worth nothing.

    Args:
        sets: for each set, by its name, key and name of every image.
        is_image: asked of each image that is in an earlier set too, by set and name: files that are no images (empty
            ones, say) are often equal, and are another mistake.

    Raises:
        CatalogError: there are some; up to 50 are listed.
    """
    seen: dict[str, str] = {}
    leaks = []
    for set_name, images in sets.items():
        here = dict(images)
        twice = [(key, place) for key, place in here.items() if key in seen]
        leaks += [f"{seen[key]} = {set_name}/{name}" for key, name in twice if is_image(set_name, name)]
        seen |= {key: f"{set_name}/{name}" for key, name in here.items()}
    if leaks:
        raise CatalogError(
            f"{len(leaks)} images are in more than one of {enumeration(list(sets))} (equal keys), which would leak: "
            f"{listed(leaks, 50)}; leave each in one of them"
        )
