"""Measure a folder or a cache of images against their references, in one stated convention.

First all that can be wrong is checked (metrics, weights, names), then images are read one pair at a time.
PSNR and SSIM are scikit-image's; every other metric is pyiqa's (see `pyiqa_metrics`).
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import isinf
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

from srcache.cache.failures import failed_image
from srcache.errors import ConfigError, ImageError, MachineError, WeightsError
from srcache.files import disk_errors
from srcache.images import Pixels, encode, one_image
from srcache.progress import Progress
from srcache.study.quality.mod_crop import Size, fitting_factor, is_exact
from srcache.study.quality.pairs import ImagePair, Pick, pair_up
from srcache.study.quality.psnr_ssim import Convention, measure_image, resized
from srcache.study.quality.pyiqa_metrics import (
    BASIC,
    Scorer,
    least_images,
    metric_name,
    needs_reference,
    open_scorer,
    require_metric,
)
from srcache.study.quality.report import (
    EXTREMES,
    LoadPair,
    QualityFailure,
    QualityReport,
    Skipped,
    Summary,
    interval,
    part_note,
)

_FEATURES = 2048
"""Dimensions of FID's features: with fewer images, their covariance is singular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """How to measure, beside the convention.

    Attributes:
        pick: which of a cache's images are meant.
        device: where pyiqa's networks run.
        allow_code: let pyiqa's metrics run code that comes with their weights.
        optional: leave out metrics that cannot be made here, instead of refusing at once.
        seed: of the bootstrap.
        advice: how the user says that images are to be resized, for messages.
    """

    pick: Pick = field(default_factory=Pick)
    device: str = "auto"
    allow_code: bool = False
    optional: bool = False
    seed: int = 0
    advice: str = 'Convention(resize="picture:bicubic")'


def measure_folders(
    reference: str | Path | None,
    test: str | Path,
    metrics: Sequence[str],
    convention: Convention,
    settings: QualitySettings | None = None,
    progress: Progress | None = None,
) -> QualityReport:
    """Measure the images of `test` against those of `reference`, paired by relative name without suffix.

    Args:
        reference: a folder of images; None where no metric compares with references.
        test: a folder of images, or a cache.
        metrics: `psnr`, `ssim`, or names that pyiqa has, in any capitals.
        convention: channel of PSNR and SSIM; crop and resize of all metrics. Where its `mod_crop` is None, it is found.
        settings: how else to measure.
        progress: called with (images done, all images).

    Raises:
        ConfigError: no such metric; a metric that needs references, or more images; names that do not pair (listed);
            not one image could be measured.
        WeightsError: weights of a metric are missing; the message names files, folders and commands.
        MachineError: a package is missing.
        DamagedError: a cache's image is not what was written.
    """
    settings, started = settings or QualitySettings(), time.monotonic()
    metrics = tuple(dict.fromkeys(metric_name(name) for name in metrics))
    if reference is None:
        _require_no_reference(metrics)
    enough, too_few, found = list(metrics), list[Skipped](), None
    places = None if reference is None else Path(reference), Path(test)
    if any(least_images(name) > 1 for name in metrics):  # nobody should fetch weights to learn that images are few
        found = pair_up(*places, settings.pick, convention.colors)
        enough, too_few = _metrics_for(metrics, len(found.pairs), settings)
    wanted, skipped = _usable_metrics(enough, settings)
    found = found or pair_up(*places, settings.pick, convention.colors)
    convention = replace(convention, colors=found.colors)
    scorers, unopened = _open_scorers(wanted, settings)
    measured = _Measurements(convention, tuple(name for name in wanted if name in BASIC), scorers, settings.advice)
    with TemporaryDirectory(prefix="srcache-quality-") as folder:
        measured.measure(found.pairs, Path(folder), progress)
        measured.measure_sets(Path(folder))
    if not measured.rows:
        reasons = "; ".join(f"{one.source}: {one.detail}" for one in measured.failures[:3])
        raise ConfigError(f"not one of {len(found.pairs)} pairs could be measured; {reasons}")
    return QualityReport(
        reference=None if reference is None else str(reference),
        test=str(test),
        recipe=found.recipe,
        pairs=len(found.pairs),
        rows=measured.rows,
        summaries=tuple(_summary(name, measured, settings.seed) for name in wanted if measured.has(name)),
        skipped=(*skipped, *too_few, *unopened),
        failures=tuple(measured.failures),
        seed=settings.seed,
        seconds=time.monotonic() - started,
        load_pair=_pair_loader(found.pairs, measured.convention),
    )


class _Measurements:
    """What has been measured so far, with the metrics that measure it, in a convention that sizes complete."""

    def __init__(
        self, convention: Convention, basic: Sequence[str], scorers: Mapping[str, Scorer], advice: str
    ) -> None:
        self.convention = convention
        self.advice = advice
        self.pairs = 0
        self.basic = basic
        self.scorers = scorers
        self.rows: dict[str, dict[str, float]] = {}
        self.sets: dict[str, float] = {}
        self.failures: list[QualityFailure] = []

    def measure(self, pairs: Sequence[ImagePair], folder: Path, progress: Progress | None) -> None:
        """Every metric of single images; what the metrics of the set need is written into the folder."""
        self.pairs = len(pairs)
        for number, pair in enumerate(pairs, 1):
            try:
                with one_image():
                    image, reference = self._load(pair, pairs)
                    values = self._values(pair.name, image, reference)
            except ImageError as error:
                failed = failed_image("", pair.name, error)
                self.failures.append(QualityFailure(pair.name, "", failed.reason, failed.detail))
            else:
                self.rows[pair.name] = values
                if any(scorer.kind == "set" for scorer in self.scorers.values()):
                    border = self.convention.crop_border
                    _write_png(folder / "images" / f"{number:08d}.png", _cropped(image, border))
                    _write_png(folder / "references" / f"{number:08d}.png", _cropped(reference, border))
            if progress is not None:
                progress(number, len(pairs))

    def _load(self, pair: ImagePair, pairs: Sequence[ImagePair]) -> tuple[Pixels, Pixels]:
        """An image and its reference, of one size. The first pair that does not fit tells the factor of mod-crop: what
        fits is the same with every factor."""
        image, reference = _read(pair)
        if self.convention.mod_crop is None and not is_exact(image.shape[:2], reference.shape[:2]):
            any_scale = self.convention.resize != "none"
            self.convention = replace(self.convention, mod_crop=fitting_factor(_sizes(pairs), any_scale=any_scale))
        return _fitted(image, reference, self.convention, self.advice)

    def measure_sets(self, folder: Path) -> None:
        """Every metric of the set."""
        for name, scorer in self.scorers.items():
            if scorer.kind == "set" and self.rows:
                try:
                    _require_images(name, len(self.rows))
                    self.sets[name] = scorer.score_set(folder / "images", folder / "references")
                except ImageError as error:
                    self.failures.append(QualityFailure("(the whole set)", name, error.reason, str(error)))

    def has(self, metric: str) -> bool:
        """Whether there is a number of a metric."""
        return metric in self.sets or any(metric in values for values in self.rows.values())

    def _values(self, name: str, image: Pixels, reference: Pixels) -> dict[str, float]:
        values: dict[str, float] = {}
        if self.basic:
            quality = measure_image(image, reference, self.convention)
            values = {metric: getattr(quality, metric) for metric in self.basic}
        inner = [_cropped(rgb, self.convention.crop_border) for rgb in (image, reference)]
        for metric, scorer in self.scorers.items():
            if scorer.kind != "set":
                try:
                    values[metric] = scorer.score(*inner)
                except ImageError as error:
                    self.failures.append(QualityFailure(name, metric, error.reason, str(error)))
        return values


def _require_no_reference(metrics: Iterable[str]) -> None:
    lacking = [name for name in metrics if needs_reference(name)]
    if lacking:
        compare = "compares" if len(lacking) == 1 else "compare"
        raise ConfigError(f"{', '.join(lacking)} {compare} images with references, so a folder of references is needed")


def _metrics_for(wanted: Sequence[str], count: int, settings: QualitySettings) -> tuple[list[str], list[Skipped]]:
    """The metrics for which there are images enough; the others are skipped, or an error, before anything is run."""
    short = [name for name in wanted if count < least_images(name)]
    words = {name: f"{name} needs at least {least_images(name)} images, but there {_is(count)}" for name in short}
    if short and (len(short) == len(wanted) or not settings.optional):
        raise ConfigError("\n".join(words.values()))
    return [name for name in wanted if name not in short], [Skipped(*one) for one in words.items()]


def _require_images(name: str, count: int) -> None:
    if count < least_images(name):
        raise ImageError(
            "too_few", f"{name} needs at least {least_images(name)} images, but there {_is(count)} that can be measured"
        )


def _is(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"


def _usable_metrics(metrics: Iterable[str], settings: QualitySettings) -> tuple[list[str], list[Skipped]]:
    """The metrics that can be measured here as far as is known, each once; the others are skipped, or one error."""
    wanted, errors = list[str](), dict[str, MachineError]()
    for name in metrics:
        try:
            if name not in BASIC:
                require_metric(name, allow_code=settings.allow_code)
            wanted.append(name)
        except MachineError as error:
            errors[name] = error
    if errors and not settings.optional:
        first, *others = errors.values()
        raise WeightsError("\n".join(str(error) for error in errors.values())) if others else first
    if not wanted:
        raise ConfigError("expected at least one metric that can be measured here, but got none")
    return wanted, [Skipped(name, str(error)) for name, error in errors.items()]


def _open_scorers(wanted: Iterable[str], settings: QualitySettings) -> tuple[dict[str, Scorer], list[Skipped]]:
    scorers, skipped = dict[str, Scorer](), list[Skipped]()
    for name in wanted:
        try:
            if name not in BASIC:
                scorers[name] = open_scorer(name, device=settings.device, allow_code=settings.allow_code)
        except MachineError as error:
            if not settings.optional:
                raise
            skipped.append(Skipped(name, str(error)))
    return scorers, skipped


def _sizes(pairs: Sequence[ImagePair]) -> Iterator[tuple[Size, Size]]:
    """The sizes of all pairs that can be read."""
    for pair in pairs:
        with suppress(ImageError):  # which says so when it is measured
            image, reference = _read(pair)
            yield image.shape[:2], reference.shape[:2]


def _read(pair: ImagePair) -> tuple[Pixels, Pixels]:
    """An image and its reference; the image itself, where there is none."""
    image = pair.image()
    return image, image if pair.reference is None else pair.reference()


def _fitted(image: Pixels, reference: Pixels, convention: Convention, advice: str) -> tuple[Pixels, Pixels]:
    """An image and its reference, brought to one size as the convention says."""
    image, reference = resized(image, reference, convention)
    if image.shape != reference.shape:
        raise ImageError(
            "size_mismatch",
            f"the image is {image.shape[1]}×{image.shape[0]}, its reference "
            f"{reference.shape[1]}×{reference.shape[0]}; say how to bring them to one size, such as {advice}",
        )
    if min(image.shape[:2]) <= 2 * convention.crop_border:
        raise ImageError("too_small", f"nothing is left of it after cropping {convention.crop_border} on every side")
    return image, reference


def _cropped(rgb: Pixels, border: int) -> Pixels:
    return rgb[border : rgb.shape[0] - border, border : rgb.shape[1] - border]


def _write_png(path: Path, rgb: Pixels) -> None:
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(rgb, "png"))


def _pair_loader(pairs: Sequence[ImagePair], convention: Convention) -> LoadPair:
    by_name = {pair.name: pair for pair in pairs}
    return lambda name: _fitted(*_read(by_name[name]), convention, "")


def _summary(metric: str, measured: _Measurements, seed: int) -> Summary:
    scorer = measured.scorers.get(metric)
    lower = scorer is not None and scorer.lower_better
    how = measured.convention
    geometry = {"crop_border": how.crop_border, "resize": how.resize, "mod_crop": how.mod_crop or 1}
    geometry |= how.chosen_colors
    plain = {"metric": metric, **how.plain()} if scorer is None else {**scorer.convention, **geometry}
    text = str(how) if scorer is None else f"{how.geometry}, {scorer.text}"
    if metric in measured.sets:
        count = len(measured.rows)
        note = f"of {count} images; comparable only with sets of the same size" if count < _FEATURES else ""
        note = "; ".join(filter(None, (part_note(count, measured.pairs), note)))
        return Summary(metric, measured.sets[metric], count, lower, plain, text, note=note)
    found = {name: values[metric] for name, values in measured.rows.items() if metric in values}
    order = sorted(found.items(), key=lambda item: (item[1] if not lower else -item[1], item[0]))
    identical = sum(isinf(value) for value in found.values())
    same = f"{identical} of {len(found)} pairs are identical" if identical else ""
    return Summary(
        metric,
        fmean(found.values()),
        len(found),
        lower,
        plain,
        text,
        median=median(found.values()),
        interval=interval(list(found.values()), seed),
        worst=tuple(order[:EXTREMES]),
        best=tuple(order[: -EXTREMES - 1 : -1]),
        note="; ".join(filter(None, (part_note(len(found), measured.pairs), same))),
    )
