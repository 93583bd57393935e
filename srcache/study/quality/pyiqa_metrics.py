"""pyiqa's metrics as scorers of srcache's images, each with its convention and the digests of its weights.

pyiqa is licensed under PolyForm Noncommercial 1.0.0; it is an extra of its own (`iqa`), imported here only, and only
when one of its metrics is asked for. It takes floats in [0, 1]: images here have 8 bits and are divided by 255, so that
nothing can lie outside.

Its luma is a trap: `psnry` and `ssim` take a full-range Y (YIQ) by default and so read 1.32 dB lower than the papers'
limited-range Y. Here `psnry` takes the papers' (BT.601, 16–235) and gives infinity, not 80 dB, for identical images.
`pyiqa:NAME` is a metric with pyiqa's own defaults, whatever they are.
"""

import math
import runpy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from srcache.errors import ConfigError, ImageError, MachineError, MissingExtraError, WeightsError
from srcache.images import Pixels, to_batch
from srcache.machine import resolve_device
from srcache.study.quality.pyiqa_guard import AbsentFileError, CodeRefusedError, Loaded, guarded, quiet
from srcache.study.quality.pyiqa_weights import CODE, WEIGHTS, hub_folder, torch_folder

LICENSE = "PolyForm Noncommercial 1.0.0"
PREFIX = "pyiqa:"
"""Before a metric's name: pyiqa's own defaults, untouched."""

SETS = ("fid", "sfid", "fid_dinov2", "inception_score")
"""Metrics of a whole set of images."""

BASIC = ("psnr", "ssim")
"""Metrics that need no pyiqa."""

_LEAST_OF_SET = 2
"""Images without which a set has no spread: pyiqa then computes with NaN, some of it without end."""

_MODES = {**dict.fromkeys(SETS, "clean"), "inception_score": "legacy_tensorflow"}
"""How the metrics of sets resize images for their network: as clean-fid does, or as the first TensorFlow did."""

_OPTIONS: dict[str, dict[str, Any]] = {"psnry": {"color_space": "ycbcr", "eps": 0.0}}
_UNFIT = {"clipscore": "it compares images with captions", "fgresq_pair": "it gives three numbers for a pair"}
_LUMA = {"ycbcr": "Y (BT.601, 16–235)", "yiq": "luma (YIQ, full range)"}
_NEWER = {"pkg_resources": "pip install 'setuptools<81'", "icecream": "pip install icecream"}


class Mode(NamedTuple):
    """What a metric takes: `pair`, `single` or `set`; whether less is better; what pyiqa makes it with."""

    kind: str
    lower_better: bool
    options: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A metric that was made.

    Attributes:
        name: as it was asked for.
        kind: `pair` (an image and its reference), `single` (an image alone) or `set` (two folders).
        lower_better: whether less is better.
        convention: how it measures, as JSON values.
        text: the same in one line.
    """

    name: str
    kind: str
    lower_better: bool
    convention: Mapping[str, Any]
    text: str
    net: Callable[..., Any] = field(repr=False)

    def score(self, image: Pixels, reference: Pixels) -> float:
        """The metric of one image, uint8 RGB (height, width, 3), and its reference of the same shape.

        Raises:
            ImageError: pyiqa cannot measure this image, or gives no single number (`metric_failed`).
        """
        inputs = [to_batch([rgb]) for rgb in ((image, reference) if self.kind == "pair" else (image,))]
        return self._number(*inputs)

    def score_set(self, images: Path, references: Path) -> float:
        """The metric of a folder of images against a folder of references.

        Raises:
            ImageError: as `score`.
        """
        folders = (str(images), str(references) if self.name.removeprefix(PREFIX) != "inception_score" else None)
        return self._number(*folders, mode=self.convention["mode"], num_workers=0, batch_size=8, verbose=False)

    def _number(self, *inputs: Any, **options: Any) -> float:
        try:
            with quiet(), _fixed_random_state():
                found = self.net(*inputs, **options)
            value = float(found["inception_score_mean"] if isinstance(found, Mapping) else found)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ImageError("metric_failed", f"{self.name} cannot measure it: {reason}") from error
        if math.isnan(value):
            raise ImageError("metric_failed", f"{self.name} gives no number for it")
        return value


def metric_name(name: str) -> str:
    """The name under which a metric is known, whatever its capitals: LPIPS is lpips."""
    prefix, bare = (PREFIX, name[len(PREFIX) :]) if name.lower().startswith(PREFIX) else ("", name)
    if bare.lower() in BASIC and not prefix:
        return bare.lower()
    known = {one.lower(): one for one in _modes_here()}
    return prefix + (bare if bare in known.values() else known.get(bare.lower(), bare))


def least_images(name: str) -> int:
    """How many images a metric needs at least."""
    return _LEAST_OF_SET if name.removeprefix(PREFIX) in SETS else 1


def needs_reference(name: str) -> bool:
    """Whether a metric compares images with references; of one that is not known, `require_metric` says so."""
    bare = name.removeprefix(PREFIX)
    if name in BASIC or bare == "inception_score":
        return name in BASIC
    mode = _modes_here().get(bare)
    return mode is not None and mode.kind != "single"


def _modes_here() -> Mapping[str, Mode]:
    """pyiqa's metrics; none where it is not installed, which whoever needs one of them says."""
    try:
        return known_metrics()
    except MissingExtraError:
        return {}


def require_metric(name: str, *, allow_code: bool = False) -> None:
    """Refuse at once, without importing pyiqa, a metric that cannot be made here, as far as that is known.

    Raises:
        ConfigError: no such metric, or one that does not fit.
        MissingExtraError: pyiqa is not installed.
        WeightsError: files that it loads are not on this machine, or it would run code that comes with them.
    """
    bare = name.removeprefix(PREFIX)
    modes = known_metrics()
    if bare not in modes:
        near = get_close_matches(bare.lower(), modes, n=3)
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ConfigError(f"no metric is named {name!r}{meant}; pyiqa {_version()} has: {', '.join(sorted(modes))}")
    if bare in _UNFIT:
        raise ConfigError(f"{name} is not for images and their references: {_UNFIT[bare]}")
    lacks = [file for file in WEIGHTS.get(bare, ()) if file.path() is None]
    words = [f"needs {file.name}, which is not in {file.folder}; this brings it:\n  {file.command}" for file in lacks]
    if bare in CODE and not allow_code:
        how = "which runs only with `srcache eval images --allow-code`"
        words.append(f"needs code that comes with its weights ({CODE[bare]}), {how}")
    if words:
        raise WeightsError(f"{name} " + "\nand ".join(words))


@cache
def known_metrics() -> Mapping[str, Mode]:
    """pyiqa's metrics by name, read from its table without importing it.

    Raises:
        MissingExtraError: pyiqa is not installed.
    """
    spec = find_spec("pyiqa")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"pyiqa ({LICENSE})", "iqa", "this metric")
    table = runpy.run_path(str(Path(spec.submodule_search_locations[0]) / "default_model_configs.py"))
    return {name: _mode(name, plain) for name, plain in table["DEFAULT_CONFIGS"].items()}


def open_scorer(name: str, *, device: str = "auto", allow_code: bool = False) -> Scorer:
    """Make a metric from what is on this machine; nothing is downloaded and nothing unpickled.

    Args:
        name: pyiqa's name of it; `pyiqa:NAME` leaves its options at pyiqa's defaults.
        device: `auto`, `cpu`, `cuda`, `cuda:1` …
        allow_code: run what needs it (see `require_metric`), and unpickle checkpoints that are no plain weights.

    Raises:
        ConfigError: no such metric.
        WeightsError: a file is missing, damaged, or holds code.
        MachineError: a package that the metric needs is missing or too new.
    """
    require_metric(name, allow_code=allow_code)
    bare = name.removeprefix(PREFIX)
    mode, device = known_metrics()[bare], resolve_device(device)
    options = {} if name.startswith(PREFIX) else _OPTIONS.get(bare, {})
    with _stated_errors(name), quiet():
        import pyiqa
        import torch

        with guarded(allow_code=allow_code) as loaded:
            net = pyiqa.create_metric(bare, device=torch.device(device), **options)
    convention = _convention(bare, {**mode.options, **options}, net, loaded)
    return Scorer(
        name=name,
        kind=mode.kind,
        lower_better=mode.lower_better,
        convention=convention,
        text=_text(convention),
        net=net,
    )


def _mode(name: str, plain: Mapping[str, Any]) -> Mode:
    kind = "set" if name in SETS else {"FR": "pair", "NR": "single"}[plain["metric_mode"]]
    return Mode(kind, bool(plain.get("lower_better", False)), dict(plain["metric_opts"]))


@contextmanager
def _stated_errors(name: str) -> Iterator[None]:
    """Turn whatever stops pyiqa into one message that says what to do."""
    try:
        yield
    except AbsentFileError as error:
        raise WeightsError(f"{name} needs {error}") from error
    except CodeRefusedError as error:
        raise WeightsError(f"{name} needs {error}; `srcache eval images --allow-code` runs and unpickles it") from error
    except ModuleNotFoundError as error:
        advice = _NEWER.get(error.name or "", f"pip install {error.name}")
        raise MachineError(f"{name} needs the package {error.name}, which is not installed; run: {advice}") from error
    except OSError as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"{name} needs files that are neither in {torch_folder()} nor in {hub_folder()}; pyiqa brings them where "
            f"there is a network: python -c 'import pyiqa; pyiqa.create_metric(\"{name.removeprefix(PREFIX)}\")' "
            f"({reason})"
        ) from error
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise MachineError(f"{name} cannot be made by pyiqa {_version()}: {type(error).__name__}: {reason}") from error


def _convention(name: str, options: Mapping[str, Any], net: Any, loaded: Loaded) -> dict[str, Any]:
    inner = getattr(net, "net", None)
    channel = "rgb"
    if options.get("test_y_channel"):
        channel = str(options.get("color_space") or getattr(inner, "color_space", None) or "yiq")
    return {
        "metric": name,
        **({"mode": _MODES[name]} if name in SETS else {}),
        "options": {key: value for key, value in options.items() if key != "type"},
        "channel": channel,
        "data_range": 1,
        "library": "pyiqa",
        "version": _version(),
        "license": LICENSE,
        "weights": [{"file": path.name, "sha256": _sha256(path)} for path in loaded.paths],
    }


def _text(convention: Mapping[str, Any]) -> str:
    weights = ", ".join(f"{one['file']} {one['sha256'][:12]}" for one in convention["weights"])
    channel = _LUMA.get(convention["channel"], "RGB")
    channel += f", mode {convention['mode']}" if "mode" in convention else ""
    return f"{channel}, range 1, pyiqa {convention['version']} ({LICENSE}){', ' if weights else ''}{weights}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _version() -> str:
    try:
        return version("pyiqa")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def _fixed_random_state() -> Iterator[None]:
    """Some metrics take random crops: the same ones for every image and in every run."""
    import numpy as np
    import torch

    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(before)
