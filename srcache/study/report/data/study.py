"""One experiment as the report reads it: `results.json`, any part of which may be missing."""

from dataclasses import dataclass
from os.path import isfile
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from srcache.errors import ConfigError
from srcache.files.documents import parse_json, short
from srcache.html.markup import Markup, tag
from srcache.images import AS_EVER, Colors

SCHEMA = "srcache.experiment/1"
RESULTS = "results.json"
STARTED = "started.json"
"""What was begun after the results were complete, and is not finished yet."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The numbers of one experiment, its folder, and where on the page it stands.

    `prefix` makes its element ids unique; `depth` is the level of its title, under which its sections stand.
    """

    results: dict[str, Any]
    root: Path
    prefix: str = ""
    depth: int = 1

    def part(self, *keys: str) -> dict[str, Any]:
        """A mapping inside the results; empty where there is none."""
        return inside(self.results, dict, *keys) or {}

    def rows(self, *keys: str) -> list[Any]:
        """A list inside the results; empty where there is none."""
        return inside(self.results, list, *keys) or []

    def word(self, *keys: str) -> str:
        """A text inside the results; empty where there is none."""
        return inside(self.results, str, *keys) or ""

    def mappings(self, *keys: str) -> list[dict[str, Any]]:
        """The mappings in a list inside the results."""
        return [row for row in self.rows(*keys) if isinstance(row, dict)]

    @property
    def title(self) -> str:
        """What the experiment is called."""
        return self.word("name") or self.root.resolve().name or "Experiment"

    @property
    def verdict(self) -> str:
        """What may be said: of all seeds where there are several, else of the one comparison; empty without one."""
        return self.word("verdict") or self.word("compare", "verdict")

    @property
    def newer(self) -> bool:
        """Whether a later run with other settings or images was begun, and is not finished."""
        return self.complete and (self.root / STARTED).is_file()

    @property
    def complete(self) -> bool:
        """Whether every step was done."""
        return self.results.get("complete") is True

    @property
    def arms(self) -> list[dict[str, Any]]:
        """The arms that have a name."""
        return [arm for arm in self.mappings("arms") if isinstance(arm.get("name"), str)]

    @property
    def first_seed(self) -> str:
        """The seed whose single answers are known: seed 0, or the first seed where arms differ in it."""
        found = {str(seeds[0]) for arm in self.arms if (seeds := inside(arm, list, "seeds"))}
        return f"seed {found.pop()}" if len(found) == 1 else "the first seed"

    @property
    def all_seeds(self) -> str:
        """The seeds that means are over: all 3 seeds (0, 1, 2); seed 0."""
        found = [inside(arm, list, "seeds") or [] for arm in self.arms]
        most = max(found, key=len, default=[])
        if len(most) < 2:
            return self.first_seed
        named = f" ({', '.join(map(str, most))})" if all(seeds in ([], most) for seeds in found) else ""
        return f"all {len(most)} seeds{named}"

    @property
    def colors(self) -> Colors:
        """How colours became RGB wherever the experiment read an image; as ever where it does not say."""
        said = self.part("config", "degradation")
        found = {name: said.get(f"{before}{name}") for name, before in (("profile", "color_"), ("background", ""))}
        try:
            return Colors(**{name: value for name, value in found.items() if isinstance(value, str)})
        except ConfigError:
            return AS_EVER

    def id(self, word: str) -> str:
        """An element's id, unique on the page."""
        return f"{self.prefix}{word}"

    def heading(self, step: int, title: object, **attributes: Any) -> Markup:
        """A heading `step` levels below the study's own title."""
        return tag(f"h{min(self.depth + step, 6)}", title, **attributes)

    def file(self, path: object) -> Path | None:
        """A file of the experiment by its path relative to the folder; None where it is not one, or leads out of it."""
        if not isinstance(path, str) or not path:
            return None
        inner = PurePosixPath(path)
        if inner.is_absolute() or ".." in inner.parts or "\0" in path:
            return None
        found = self.root / inner
        return found if isfile(found) else None


def inside(value: Any, kind: type[_T], *keys: str) -> _T | None:
    """What lies under nested keys, if it is of this kind."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value if isinstance(value, kind) else None


def read_results(out: Path) -> dict[str, Any]:
    """The numbers of an experiment folder.

    Raises:
        ConfigError: there are none, they cannot be read, or they were written by another version.
    """
    path = out / RESULTS
    if not out.is_dir():
        raise ConfigError(f"{out} is no folder; a report is made from the folder that `srcache experiment` wrote")
    if not path.is_file():
        raise ConfigError(
            f"{out} holds no {RESULTS}, so it is no experiment, or none that has come to its end; "
            f"run: srcache experiment CONFIG --out {out}"
        )
    try:
        results = parse_json(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read ({error}); run the experiment again, which writes it anew") from error
    found = results.get("schema") if isinstance(results, dict) else None
    if found != SCHEMA:
        raise ConfigError(
            f"{path} must have the schema {SCHEMA!r}, but has {short(found)}; "
            "a folder of another version is reported by the srcache that wrote it"
        )
    return dict(results)
