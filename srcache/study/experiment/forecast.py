"""What an experiment would take: hours and bytes for each step, by trying a few of its images on this machine.

What is tried is made in a folder of the system's for passing files, and thrown away; the experiment's own folder, its
cache and its images are not touched. Trainings are foretold from a few steps on the device that they would run on.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from srcache.catalog.listing import Listed, Problem
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError, MachineError, Mistakes, listed
from srcache.files.regular import read_regular
from srcache.fill.estimate import estimate
from srcache.fill.settings import FillSettings
from srcache.images import encode, to_batch
from srcache.machine import device_name, resolve_device
from srcache.study.arms.augment import fit_to_size
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.recipes import recipe_of
from srcache.study.experiment.sources import count_images, list_source, named_folders, note_mistakes
from srcache.study.experiment.sweeps import trained_arms
from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.samples import SAMPLE_SPLITS, make_faces, make_textures
from srcache.study.prepare.smaller import make_smaller
from srcache.study.prepare.stratify import SPLITS
from srcache.study.quality.psnr_ssim import Convention, measure_image
from srcache.study.train.batches import autocast, deterministic
from srcache.study.train.networks import build_network
from srcache.study.train.optimizers import make_optimizer
from srcache.study.train.settings import TrainSettings
from srcache.wording import counted

_TRIED = 12
"""Images that are tried."""

_SECONDS, _MOST_STEPS, _PIXELS = 1.5, 8, 2**17
"""How long steps of a network are tried, how many at most, and how many pixels a batch of them has at most, unless two
images have more."""

_SIDE = 256
"""Larger images are tried at this side: the time of convolutions goes by the number of pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step of an experiment would take.

    Attributes:
        name: of the step.
        about: what it does, in a few words.
        seconds: None where that cannot be foretold on this machine.
        bytes: that it would add to the disk.
    """

    name: str
    about: str
    seconds: float | None
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What an experiment would take from its beginning, and what it still needs.

    Attributes:
        steps: in the order in which they are done.
        images: in train, validation and test.
        classes: how many.
        devices: where engines and networks would run.
        lacking: weights and packages that are not here, each with what brings it.
        unusable: of the images that were tried, those that could not be used.
    """

    steps: tuple[Step, ...]
    images: dict[str, int]
    classes: int
    devices: tuple[str, ...]
    lacking: tuple[str, ...]
    unusable: tuple[str, ...] = field(default=())

    @property
    def seconds(self) -> float | None:
        """Of all steps; None if one of them is not known."""
        times = [step.seconds for step in self.steps if step.seconds is not None]
        return math.fsum(times) if len(times) == len(self.steps) else None

    @property
    def bytes(self) -> int:
        """That all steps would add to the disk."""
        return sum(step.bytes for step in self.steps)


def foretell(experiment: Experiment, jobs: int = 1) -> Forecast:
    """Try a few images of an experiment, and foretell the rest; writes nothing that stays.

    Args:
        experiment: what would be done.
        jobs: trainings at a time.

    Raises:
        ConfigError: folders or recipes that cannot be used: all mistakes of the folders at once.
        MachineError: no such device, no room for what is tried.
    """
    with TemporaryDirectory(prefix="srcache-dry-run-") as home:
        return _Trial(experiment, jobs, Path(home)).run()


class _Trial:
    """A few images of an experiment in a folder that passes, and what is known of the others."""

    def __init__(self, experiment: Experiment, jobs: int, home: Path) -> None:
        self._experiment, self._jobs, self._home = experiment, jobs, home
        self._steps, self._lacking = list[Step](), list[str]()
        self._costs: dict[TrainSettings, tuple[float, float, int]] = {}

    def run(self) -> Forecast:
        chosen, counts, made = self._choose()
        self._images = {split: sum(counts[split].values()) for split in SPLITS}
        self._all, self._classes = sum(self._images.values()), max(2, len(counts["train"]))
        tried, hr, lr = self._data(chosen, made)
        for label in self._experiment.recipes:
            self._cache(label, lr)
        self._trainings(hr)
        self._quality(hr)
        return Forecast(
            steps=tuple(self._steps),
            images=self._images,
            classes=self._classes,
            devices=self._devices(),
            lacking=tuple(self._lacking),
            unusable=tried,
        )

    def _choose(self) -> tuple[list[Listed], dict[str, dict[str, int]], float]:
        """Some images from all over, how many of each class every split has, and the seconds that samples took."""
        choice, started = self._experiment.data, time.perf_counter()
        if choice.kind == "folders":
            mistakes = Mistakes()
            sources = note_mistakes(choice, mistakes)
            mistakes.raise_as(CatalogError, f"experiment {self._experiment.name!r} cannot be run")
            counts = {split: dict(found) for split, found in count_images(choice, sources).items()}
            files = [file for name in named_folders(choice) for file in sources[name].files]
        else:
            make = {"textures": make_textures, "faces": make_faces}[choice.kind]
            folder = make(self._home / "samples", choice.seed).folder
            sources = {name: list_source(folder / name) for name in SAMPLE_SPLITS}
            counts = {split: dict(found) for split, found in count_images(choice, sources).items()}
            held = {label: round(count * choice.validation_share) for label, count in counts["train"].items()}
            counts |= {"validation": held, "train": {name: counts["train"][name] - held[name] for name in held}}
            files = [file for name in SAMPLE_SPLITS for file in sources[name].files]
        most = min(_TRIED, len(files))
        return [files[place * len(files) // most] for place in range(most)], counts, time.perf_counter() - started

    def _data(self, chosen: Sequence[Listed], made: float) -> tuple[tuple[str, ...], Catalog, Catalog]:
        """Foretell the copies of HR and LR; returns what was unusable, and some images of both."""
        experiment, some = self._experiment, self._home / "some"
        (some / "c").mkdir(parents=True)
        for number, file in enumerate(chosen):
            with suppress(OSError):  # the run counts it as one that cannot be read
                (some / "c" / f"{number}{file.path.suffix.lower()}").write_bytes(read_regular(file.path))
        hr, started, colors = self._scan(some), time.perf_counter(), experiment.degradation.colors
        failed = list[Problem]()
        if experiment.data.longest_side is not None:
            failed += make_smaller(hr, self._home / "hr", experiment.data.longest_side, colors).failures
            hr = self._scan(self._home / "hr")
        shrunk = make_lr(hr, self._home / "lr", experiment.degradation)
        seconds = (time.perf_counter() - started) / len(chosen)
        failed += shrunk.failures
        names = [f"{chosen[int(Path(one.name).stem)].name}: {one.detail}" for one in failed]
        if not shrunk.written:
            raise CatalogError(f"none of {len(chosen)} images that were tried can be used: {listed(names)}")
        lr = self._scan(self._home / "lr")
        about = ", ".join(f"{count} {split}" for split, count in self._images.items())
        size = _mean_size(lr) + (0 if experiment.data.link == "hard" else _mean_size(hr))
        about = f"{about}; HR, and LR by {experiment.degradation}"
        self._add("data", about, made + seconds * self._all, size * self._all)
        good = {path.stem for path in (self._home / "lr").rglob("*.png")}
        rows = tuple(row for row in hr.rows if Path(row.name).stem in good)
        return tuple(names), replace(hr, rows=rows), lr

    def _cache(self, label: str, lr: Catalog) -> None:
        name = self._experiment.recipes[label].name
        try:
            recipe = recipe_of(self._experiment, label)
            settings = FillSettings(device=self._experiment.device)
            found = estimate(lr, recipe, self._home / "cache", settings)
        except MachineError as error:
            self._lacking.append(str(error))
            self._steps.append(Step(name=f"cache {name}", about="cannot be tried here", seconds=None))
            return
        each, size = found.seconds_each or 0.0, found.bytes_each or 0.0
        about = f"{self._all} SR images"
        self._add(f"cache {name}", about, found.startup_seconds + each * self._all, size * self._all)

    def _trainings(self, hr: Catalog) -> None:
        """Foretell trainings, predictions, and the classifier that label safety asks."""
        experiment, images = self._experiment, self._images
        learning = predicting = mean = 0.0
        size, domains, arms = 0, len(experiment.domains), trained_arms(experiment)
        for arm in arms:
            learn, look, weights = self._cost(replace(arm.settings, epochs=1), hr)  # one try for all lengths
            few = images if arm.per_class is None else dict.fromkeys(images, arm.per_class * self._classes)
            train, validation = (min(images[split], few[split]) for split in ("train", "validation"))
            learning += arm.settings.epochs * (learn * train + look * validation)
            predicting += domains * look * images["test"]
            mean, size = mean + look / len(arms), size + weights
        seeds, count = len(experiment.seeds), len(arms) * len(experiment.seeds)
        at_once = min(self._jobs, count)
        epochs = max(arm.settings.epochs for arm in arms)
        about = f"{counted(count, 'network')}, at most {counted(epochs, 'epoch')} each, {at_once} at a time"
        self._add("trainings", about, seeds * learning / at_once, seeds * size)
        about = f"{domains} kinds of {images['test']} test images by each network"
        self._add("predictions", about, seeds * predicting / at_once)
        if experiment.safety.measure:
            self._add("label safety", f"{self._all} pairs of LR and SR", 2 * mean * self._all * len(experiment.recipes))

    def _cost(self, settings: TrainSettings, hr: Catalog) -> tuple[float, float, int]:
        """Seconds to learn from an image, and to look at one, both with reading it; and the bytes of the weights."""
        if settings not in self._costs:
            read = _each(lambda number: _prepared(hr, number % len(hr), settings))
            learn, look, size = _try_steps(settings, self._classes)
            self._costs[settings] = read + learn, read + look, size
        return self._costs[settings]

    def _quality(self, hr: Catalog) -> None:
        """Foretell PSNR, SSIM and the images that are written to be looked at; of other metrics nothing is known."""
        experiment = self._experiment
        convention, sizes = Convention(channel=experiment.quality.channel), list[int]()

        def measure(number: int) -> None:
            rgb = hr.load(number % len(hr)).rgb
            sizes.append(len(encode(rgb, "png")))
            if min(rgb.shape[:2]) >= 7:  # the window of SSIM
                measure_image(rgb, 255 - rgb, convention)

        kinds, seconds = 1 + len(experiment.recipes), _each(measure)
        others = [name for name in experiment.quality.metrics if name not in ("psnr", "ssim")]
        unknown = f"; without {', '.join(others)}, of which nothing is known beforehand" if others else ""
        count = kinds * self._images["test"]
        self._add("image quality", f"{count} images{unknown}", count * seconds, count * sum(sizes) / len(sizes))

    def _devices(self) -> tuple[str, ...]:
        names = [self._experiment.device, *(arm.settings.device for arm in self._experiment.arms)]
        return tuple(dict.fromkeys(device_name(resolve_device(name)) for name in names))

    def _scan(self, folder: Path) -> Catalog:
        return scan(folder, memo=self._home / "memo")

    def _add(self, name: str, about: str, seconds: float, size: float = 0.0) -> None:
        self._steps.append(Step(name=name, about=about, seconds=seconds, bytes=round(size)))


def _mean_size(catalog: Catalog) -> float:
    """Bytes of a file."""
    sizes = [row.path.stat().st_size for row in catalog.rows if row.path]
    return sum(sizes) / len(sizes)


def _each(act: Callable[[int], object]) -> float:
    """Seconds that one call takes; the first is that of imports."""
    act(0)
    started = time.perf_counter()
    for number in range(1, 5):
        act(number)
    return (time.perf_counter() - started) / 4


def _prepared(hr: Catalog, number: int, settings: TrainSettings) -> object:
    return to_batch([fit_to_size(hr.load(number).rgb, settings.input_size, settings.fit)])


def _try_steps(settings: TrainSettings, classes: int) -> tuple[float, float, int]:
    """Seconds to learn from an image, and to look at one, on the settings' device; and the bytes of the weights."""
    import torch
    from torch.nn.functional import cross_entropy

    device, (height, width) = resolve_device(settings.device), settings.input_size
    pixels, height, width = height * width, min(height, _SIDE), min(width, _SIDE)
    size, times = max(2, min(settings.batch_size, _PIXELS // (height * width))), pixels / (height * width)
    with deterministic(settings.threads, device, 0):
        network = build_network(settings.network, classes, (height, width)).to(device)
        optimizer = make_optimizer(network, settings)
        images, labels = torch.rand(size, 3, height, width, device=device), torch.arange(size, device=device) % classes

        def learn() -> None:
            with autocast(device, settings.precision):
                loss = cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()

        def look() -> None:
            with torch.no_grad(), autocast(device, settings.precision):
                float(network(images).sum())

        seconds = [times * _step_seconds(act) / size for act in (learn, look)]
    with torch.device("meta"):
        whole = build_network(settings.network, classes, settings.input_size)
    return seconds[0], seconds[1], sum(value.numel() * value.element_size() for value in whole.state_dict().values())


def _step_seconds(act: Callable[[], None]) -> float:
    act()
    started, steps = time.perf_counter(), 0
    while steps < _MOST_STEPS and (not steps or time.perf_counter() - started < _SECONDS):
        act()
        steps += 1
    return (time.perf_counter() - started) / steps
