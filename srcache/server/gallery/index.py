"""Which rows of a gallery fit a choice, and in which order: by class, state, label safety, image quality and name.

A choice is a number for each list of options; 0 takes all. Which rows an option has is decided here, for the page that
is served and for the file alike. Numbers are in arrays, so that a million rows are filtered in a moment.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcache.catalog.names import pairing_names
from srcache.dataset.scores import LabelScore
from srcache.server.gallery.quality import Scores
from srcache.server.gallery.rows import GalleryRow
from srcache.wording import NOTHING

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]

_SAFETY = (("Safe: 0.9 and more", 0.9, np.inf), ("Safe: 0.5 to 0.9", 0.5, 0.9), ("Safe: below 0.5", -np.inf, 0.5))
_EDGE = 0.1
"""The share of rows at either end of a metric."""


class Option(NamedTuple):
    """One option of a choice: what it is called, how many rows it has, and which."""

    words: str
    fits: int
    mask: Callable[[], Mask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A list of options; `every` is what stands for all rows."""

    key: str
    title: str
    every: str
    options: tuple[Option, ...]


class Order(NamedTuple):
    """An order of rows: what it is called, and all places in it."""

    words: str
    places: Callable[[], Places]


class GalleryIndex:
    """The rows of a gallery with what is known of them. Never changed after it is made; threads may share it.

    Args:
        rows: all rows.
        safety: what was measured of SR images, by entry.
        quality: metrics by name, for first samples.
        seed: of the mixed order.

    Attributes:
        rows: all rows.
        choices: what can be chosen; of each at least one option has rows.
        orders: the orders.
        metrics: numbers of each row by what they are called, NaN where there is none.
    """

    def __init__(
        self, rows: Sequence[GalleryRow], safety: Mapping[str, LabelScore], quality: Scores, seed: int = 0
    ) -> None:
        self.rows, self._seed = rows, seed
        self._safety, self._quality = safety, quality
        self.metrics = {"Safe": self._safe(), **self._qualities(quality)}
        self.metrics = {name: values for name, values in self.metrics.items() if not np.isnan(values).all()}
        found = (self._classes(), self._states(), self._safeties(), self._answers(), self._edges())
        self.choices = tuple(choice for choice in found if choice.options)
        self.orders = tuple(self._orders())
        self._titles: list[str] | None = None

    def part(self, places: Sequence[int]) -> "GalleryIndex":
        """An index of some of the rows, whose choices and counts are of these alone."""
        return GalleryIndex([self.rows[place] for place in places], self._safety, self._quality, self._seed)

    def find(self, chosen: Mapping[str, int], order: int = 0, words: str = "") -> Places:
        """The places of the rows that fit all that is chosen, in an order.

        Args:
            chosen: by a choice's key, the number of an option from 1 on; 0 and what is not named take all.
            order: the number of an order.
            words: what a title must contain, in letters of any case.

        Raises:
            IndexError: there is no such option or order.
        """
        mask = np.ones(len(self.rows), bool)
        for choice in self.choices:
            if number := chosen.get(choice.key, 0):
                mask &= choice.options[number - 1].mask()
        if words:
            mask &= self._containing(words.casefold())
        places = self.orders[order].places()
        return places[mask[places]]

    def numbers(self, place: int) -> Iterator[tuple[str, float]]:
        """What was measured of a row."""
        for name, values in self.metrics.items():
            if not np.isnan(values[place]):
                yield name, float(values[place])

    def score(self, place: int) -> LabelScore | None:
        """Everything about a row's label safety."""
        return self._safety.get(self.rows[place].entry)

    def _containing(self, words: str) -> Mask:
        if self._titles is None:
            self._titles = ["\n".join((row.title, *row.others)).casefold() for row in self.rows]
        return np.fromiter((words in title for title in self._titles), bool, len(self.rows))

    def _safe(self) -> NDArray[np.float64]:
        return self._measured(lambda row: self._safety[row.entry].safe if row.entry in self._safety else np.nan)

    def _qualities(self, quality: Scores) -> dict[str, NDArray[np.float64]]:
        names = dict.fromkeys(name for row in self.rows for name in (row.name, *row.others) if name)
        stems = dict(zip(names, pairing_names(list(names)), strict=True))

        def value(row: GalleryRow, values: Mapping[str, float]) -> float:
            if row.state or not row.entry.endswith("-000"):
                return np.nan
            found = (values.get(stems.get(name, "")) for name in (row.name, *row.others))
            return next((one for one in found if one is not None), np.nan)

        return {
            metric: self._measured(lambda row, values=values: value(row, values))  # type: ignore[misc]
            for metric, values in quality.items()
        }

    def _measured(self, of: Callable[[GalleryRow], float]) -> NDArray[np.float64]:
        return np.fromiter((of(row) for row in self.rows), np.float64, len(self.rows))

    def _classes(self) -> Choice:
        return self._grouped("class", "Class", "Every class", [row.label for row in self.rows])

    def _states(self) -> Choice:
        states = ["stored" if not row.state else row.state for row in self.rows]
        return self._grouped("state", "State", "Any state", states)

    def _answers(self) -> Choice:
        """Whether a classifier says the same of SR and of LR."""

        def said(row: GalleryRow) -> str:
            score = self._safety.get(row.entry)
            if score is None or np.isnan(score.agree):
                return ""
            return "Same answer as on LR" if score.agree >= 1 else "Another answer than on LR"

        return self._grouped("answer", "Classifier on SR", "Any answer", [said(row) for row in self.rows])

    def _grouped(self, key: str, title: str, every: str, words: Sequence[str]) -> Choice:
        """A choice of the different words that rows have; of one alone nothing can be chosen."""
        counts = Counter(words)
        groups = sorted(counts, key=lambda one: (one != "stored", one))
        numbers = {one: number for number, one in enumerate(groups)}
        of = np.fromiter((numbers[one] for one in words), np.int32, len(words))
        options = [
            Option(one, counts[one], lambda number=number: of == number)  # type: ignore[misc]
            for one, number in numbers.items()
            if one
        ]
        return Choice(key=key, title=title, every=every, options=tuple(options) if len(counts) > 1 else ())

    def _safeties(self) -> Choice:
        safe = self.metrics.get("Safe")
        if safe is None:
            return Choice(key="safety", title="Label safety", every="Any", options=())
        masks = [(words, (safe >= low) & (safe < high)) for words, low, high in _SAFETY]
        return _choice("safety", "Label safety", "Any", [*masks, ("Not measured", np.isnan(safe))])

    def _edges(self) -> Choice:
        """The rows at the ends of each metric."""
        found = list[tuple[str, Mask]]()
        for metric, values in self.metrics.items():
            known = values[~np.isnan(values)]
            if metric == "Safe" or known.max() <= known.min():
                continue
            low, high = np.quantile(known, [_EDGE, 1 - _EDGE], method="inverted_cdf")
            found += [(f"Lowest tenth of {metric}", values <= low), (f"Highest tenth of {metric}", values >= high)]
        return _choice("quality", "Image quality", "Any", found)

    def _orders(self) -> Iterator[Order]:
        count = len(self.rows)
        yield Order("As listed", lambda: np.arange(count))
        yield Order("Mixed", self._mixed)
        for metric, values in self.metrics.items():
            yield Order(f"{metric}, lowest first", lambda values=values: _sorted(values, 1))  # type: ignore[misc]
            yield Order(f"{metric}, highest first", lambda values=values: _sorted(values, -1))  # type: ignore[misc]

    def _mixed(self) -> Places:
        """By a function of the seed and the entries' names alone."""
        drawn = [blake2b(f"{self._seed}/{row.entry}".encode(), digest_size=8).digest() for row in self.rows]
        return np.argsort(np.array([int.from_bytes(one, "big") for one in drawn], np.uint64), kind="stable")


def shown_number(value: float) -> str:
    """A metric's value as people read it."""
    return "∞" if np.isinf(value) else f"{value:.4g}" if not np.isnan(value) else NOTHING


def _choice(key: str, title: str, every: str, masks: Sequence[tuple[str, Mask]]) -> Choice:
    options = [
        Option(words, int(mask.sum()), lambda mask=mask: mask)  # type: ignore[misc]
        for words, mask in masks
        if mask.any()
    ]
    return Choice(key=key, title=title, every=every, options=tuple(options))


def _sorted(values: NDArray[np.float64], sign: int) -> Places:
    """Places by rising (or falling) values, those without one last."""
    keys = np.where(np.isnan(values), np.inf, sign * np.where(np.isnan(values), 0, values))
    return np.lexsort((np.arange(len(values)), keys, np.isnan(values)))
