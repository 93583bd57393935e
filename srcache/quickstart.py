"""The whole loop on embedded pictures: data, LR copies, SR cache, training on LR, SR and HR, pictures and a table.

    OUT/data/hr/{train,test}/<class>/*.png   grey 64-pixel patches (`samples.make_textures`)
    OUT/data/lr/{train,test}/<class>/*.png   the same, shrunk by 4
    OUT/cache/                               their SR variants, made once
    OUT/runs/{lr,sr,hr}/                     a trained network each, and what it was trained from
    OUT/contact-sheet.png                    LR | bicubic | SR | HR of one test picture per class
    OUT/results.json                         every number

A second run finds all of it and makes only what is missing: samples and LR copies are kept, the cache is full, and a
training whose data, recipe, settings and versions are unchanged is not repeated.

All arms see 64×64 pixels, trained alike from one seed on the same patches; LR is enlarged by the data set (bicubic).
The recipe is the embedded network's. It was trained on photographs to come close to HR, not to tell textures apart:
whether the SR arm does better than the LR arm is what the table is for, and one seed does not settle it.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srcache.catalog import scan
from srcache.dataset import SRAugmentedDataset
from srcache.errors import CatalogError, ConfigError
from srcache.evaluate import Convention, SetQuality, measure_set
from srcache.files import write_whole
from srcache.fill import fill
from srcache.images import Pixels, encode, resize, to_batch
from srcache.machine import versions
from srcache.prepare import lr
from srcache.recipe import Recipe, load_recipe
from srcache.samples import SPLITS, SampleReport, make_textures
from srcache.sheet import Row, Sheet, draw
from srcache.train import WEIGHTS, Epoch, TrainSettings, save_model, train

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

RECIPE = "compact"
FACTOR = 4
SIZE = 64
ARMS = ("lr", "sr", "hr")

Say = Callable[[str], None]
"""Called with a line of text now and then, for people who wait."""

_SCHEMA = "srcache.quickstart/1"
_RUN_SCHEMA = "srcache.quickstart.run/1"
_CELL = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What the cache needed: entries wanted, there before, and made now."""

    recipe: str
    wanted: int
    stored: int
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training: on which variant, right answers on the test set, and whether an earlier run had done it."""

    name: str
    right: int
    tested: int
    seconds: float
    reused: bool

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / self.tested


class Shown(NamedTuple):
    """One test picture in all its variants; all but LR have one size."""

    name: str
    lr: Pixels
    bicubic: Pixels
    sr: Pixels
    hr: Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartResult:
    """Everything that was found out, and where everything lies."""

    out: Path
    samples: SampleReport
    built: Built
    arms: tuple[Arm, ...]
    bicubic: SetQuality
    sr: SetQuality
    seconds: float

    @property
    def places(self) -> dict[str, Path]:
        """What lies where."""
        return {name: self.out / path for name, path in _PLACES.items()}

    def table(self) -> str:
        """PSNR and SSIM against HR, and accuracy, as lines of text."""
        accuracies = {arm.name: f"{arm.accuracy:.1%}" for arm in self.arms}
        rows = [
            ("test set", "PSNR dB", "SSIM", "accuracy"),
            ("LR", "-", "-", accuracies["lr"]),
            ("bicubic", *_scores(self.bicubic), "-"),
            (f"SR ({RECIPE})", *_scores(self.sr), accuracies["sr"]),
            ("HR", "-", "-", accuracies["hr"]),
        ]
        lines = [f"{name:<14}{psnr:>9}{ssim:>9}{accuracy:>11}" for name, psnr, ssim, accuracy in rows]
        return "\n".join(lines)

    def caveat(self) -> str:
        """What must be known to read the table."""
        return (
            f"PSNR and SSIM against HR: {self.sr.convention}. Accuracy: {self.arms[0].tested} pictures, one seed, so\n"
            f"differences of a few points are chance. SR by {RECIPE}, a small network trained on other photographs."
        )

    def plain(self) -> dict[str, Any]:
        """Every number, as JSON values."""
        return {
            "places": {name: str(path) for name, path in self.places.items()},
            "samples": {"classes": list(self.samples.classes), "train": self.samples.train, "test": self.samples.test},
            "cache": asdict(self.built),
            "arms": [{**asdict(arm), "accuracy": arm.accuracy} for arm in self.arms],
            "bicubic": self.bicubic.plain(),
            "sr": self.sr.plain(),
            "seconds": self.seconds,
        }


_PLACES = {
    "HR pictures": "data/hr",
    "LR pictures": "data/lr",
    "SR cache": "cache",
    "trained networks": "runs",
    "contact sheet": "contact-sheet.png",
    "numbers": "results.json",
}


def quickstart(out: Path, settings: TrainSettings | None = None, say: Say | None = None) -> QuickstartResult:
    """Go through the whole loop in a folder of its own; what an earlier run left there is used.

    Args:
        out: a new or empty folder, or that of an earlier quickstart.
        settings: how to train; the defaults take about a minute on two cores for all three arms.
        say: told what is going on, a line at a time.

    Raises:
        ConfigError: `out` holds something else.
        CatalogError: pictures in it cannot be read any more.
        MachineError: no room, no permission, or scikit-image (extra `samples`) is not installed.
    """
    return _Quickstart(Path(out), settings or TrainSettings(), say or _silent).run()


class _Quickstart:
    """One run: where it writes, how it trains, whom it tells."""

    def __init__(self, out: Path, settings: TrainSettings, say: Say) -> None:
        self._out, self._settings, self._say = out, settings, say
        self._cache = out / "cache"

    @cached_property
    def _recipe(self) -> Recipe:
        return load_recipe(RECIPE)

    def run(self) -> QuickstartResult:
        started = time.perf_counter()
        convention = Convention()
        _claim(self._out)
        samples = self._make_data()
        built = self._build()
        arms = tuple(self._arm(name) for name in ARMS)
        self._say("measuring the test pictures")
        shown = self._test_pictures()
        bicubic = measure_set(((one.name, one.bicubic, one.hr) for one in shown), convention)
        sr = measure_set(((one.name, one.sr, one.hr) for one in shown), convention)
        sheet = contact_sheet(shown, bicubic, sr)
        write_whole(self._out / _PLACES["contact sheet"], encode(draw(sheet), "png"))
        result = QuickstartResult(
            out=self._out,
            samples=samples,
            built=built,
            arms=arms,
            bicubic=bicubic,
            sr=sr,
            seconds=time.perf_counter() - started,
        )
        _write_results(self._out, {"complete": True, **result.plain()})
        return result

    def _make_data(self) -> SampleReport:
        """HR patches and their LR copies."""
        samples = make_textures(self._folder("hr"))
        self._say(
            f"{samples.train} + {samples.test} patches of {len(samples.classes)} textures in {samples.folder} "
            f"({'made' if samples.made else 'there already'})"
        )
        done = [lr(self._folder("hr", split), self._folder("lr", split), FACTOR) for split in SPLITS]
        failures = [f"{problem.name} ({problem.reason})" for report in done for problem in report.failures]
        if failures:
            raise CatalogError(f"sample pictures cannot be read: {failures[0]}; delete {self._out} and start again")
        written, kept = sum(report.written for report in done), sum(report.kept for report in done)
        self._say(f"LR copies, shrunk by {FACTOR}: {written} made, {kept} there already")
        return samples

    def _build(self) -> Built:
        """The SR cache of train and test pictures."""
        reports = [fill(scan(self._folder("lr", split)), self._recipe, self._cache) for split in SPLITS]
        built = Built(
            recipe=self._recipe.folder,
            wanted=sum(report.wanted for report in reports),
            stored=sum(report.stored for report in reports),
            added=sum(report.added for report in reports),
        )
        full = "the cache was full, nothing to do" if built.stored == built.wanted else f"{built.added} added"
        self._say(f"SR cache {built.recipe}: {built.wanted} wanted, {built.stored} there already: {full}")
        return built

    def _arm(self, name: str) -> Arm:
        """Train on one variant, unless an earlier run did the same."""
        folder, inputs = self._out / "runs" / name, self._inputs(name)
        known = _earlier(folder, inputs)
        if known is not None:
            self._say(f"trained on {name.upper()} earlier, from the same data and settings: {known.accuracy:.1%} right")
            return known
        started = time.perf_counter()
        sets = [self._set(split, name, size=SIZE, transform=_tensor) for split in SPLITS]
        classes = sets[0].classes or ()
        result = train(sets[0], sets[1], classes, self._settings, lambda epoch: self._say(self._line(name, epoch)))
        right = sum(map(int.__eq__, result.labels, result.predictions))
        arm = Arm(
            name=name, right=right, tested=len(result.labels), seconds=time.perf_counter() - started, reused=False
        )
        save_model(result, folder)
        write_whole(folder / "run.json", json.dumps({"schema": _RUN_SCHEMA, "inputs": inputs, **asdict(arm)}, indent=1))
        return arm

    def _line(self, name: str, epoch: Epoch) -> str:
        where = f"training on {name.upper()}, epoch {epoch.epoch + 1:2d} of {self._settings.epochs}"
        return f"{where}: loss {epoch.loss:.3f}, {epoch.test_accuracy:.1%} of the test set right"

    def _inputs(self, name: str) -> dict[str, Any]:
        """All that a training's outcome hangs on."""
        digests = {
            f"{kind}/{split}": scan(self._folder(kind, split)).digest for kind in ("hr", "lr") for split in SPLITS
        }
        return {
            "policy": name,
            "recipe": self._recipe.fingerprint,
            "size": SIZE,
            "data": digests,
            "settings": asdict(self._settings),
            "versions": versions(),
        }

    def _set(self, split: str, policy: str, **more: Any) -> SRAugmentedDataset:
        lr_folder, hr_folder = self._folder("lr", split), self._folder("hr", split)
        return SRAugmentedDataset(lr_folder, self._cache, self._recipe, policy, hr=hr_folder, **more)

    def _test_pictures(self) -> list[Shown]:
        views = [self._set("test", kind) for kind in ARMS]
        shown = []
        for index, row in enumerate(scan(self._folder("lr", "test")).rows):
            small, sr, hr = (np.asarray(view[index][0]) for view in views)
            shown.append(Shown(row.name, small, resize(small, (hr.shape[0], hr.shape[1]), "bicubic"), sr, hr))
        return shown

    def _folder(self, kind: str, split: str = "") -> Path:
        return self._out / "data" / kind / split


def contact_sheet(shown: Sequence[Shown], bicubic: SetQuality, sr: SetQuality) -> Sheet:
    """The first picture of each class, with its PSNR after bicubic enlargement and by SR."""
    scores = [{name: f"{quality.psnr:.1f} dB" for name, quality in found.rows} for found in (bicubic, sr)]
    rows: dict[str, Row] = {}
    for name, *pictures in shown:
        label, sizes = name.split("/")[0], [f"{rgb.shape[1]}×{rgb.shape[0]}" for rgb in pictures]
        notes = (sizes[0], scores[0][name], scores[1][name], sizes[3])
        rows.setdefault(label, Row(caption=label, pictures=pictures, notes=notes))
    return Sheet(
        columns=("LR", "bicubic", f"SR ({RECIPE})", "HR"),
        rows=list(rows.values()),
        heading="The first test picture of each class",
        footing=f"PSNR against HR: {bicubic.convention}",
        cell=_CELL,
    )


def _claim(out: Path) -> None:
    """Say in the folder what it is going to be, or find that it is that already."""
    results = out / _PLACES["numbers"]
    try:
        if not out.exists() or all(path.name.startswith(f".{results.name}.") for path in out.iterdir()):
            _write_results(out, {"complete": False})
        elif json.loads(results.read_text(encoding="utf-8"))["schema"] != _SCHEMA:
            raise ValueError(results)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"expected a new or empty folder, or that of an earlier quickstart, but {out} is none; choose another"
        ) from error


def _earlier(folder: Path, inputs: dict[str, Any]) -> Arm | None:
    """What an earlier run found out from the same inputs, if it did and its network is still there."""
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if found["schema"] != _RUN_SCHEMA or found["inputs"] != inputs or not (folder / WEIGHTS).is_file():
            return None
        return Arm(
            name=found["name"], right=found["right"], tested=found["tested"], seconds=found["seconds"], reused=True
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_results(out: Path, plain: dict[str, Any]) -> None:
    write_whole(out / _PLACES["numbers"], json.dumps({"schema": _SCHEMA, **plain}, indent=1, allow_nan=False) + "\n")


def _scores(quality: SetQuality) -> tuple[str, str]:
    return "identical" if isinf(quality.psnr) else f"{quality.psnr:.2f}", f"{quality.ssim:.4f}"


def _tensor(image: "Image") -> "Tensor":
    return to_batch([np.asarray(image)])[0]


def _silent(line: str) -> None:
    pass
