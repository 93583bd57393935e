"""What is wrong with an experiment, as far as it can be said without making or training anything: all of it at once.

`parse` has refused what the file alone shows. Here its recipes are loaded, its folders listed (no image is read), its
networks built without weights, and its devices, metrics and packages looked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from srcache.errors import ConfigError, MachineError, Mistakes, SrcacheError, needs_extra
from srcache.machine import resolve_device
from srcache.study.experiment.config import Experiment, QualityChoice
from srcache.study.experiment.recipes import recipe_of
from srcache.study.experiment.sources import note_mistakes
from srcache.study.train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is wrong with an experiment, a sentence each.

    Attributes:
        mistakes: in the file, or in the images that it names.
        lacking: what this machine has not: packages, weights, a device.
    """

    mistakes: tuple[str, ...]
    lacking: tuple[str, ...]

    def raise_if_any(self, name: str) -> None:
        """Raise one error that lists everything.

        Raises:
            ConfigError: there are mistakes.
            MachineError: there are none, but something is lacking.
        """
        found = Mistakes()
        for text in (*self.mistakes, *self.lacking):
            found.note(text)
        found.raise_as(ConfigError if self.mistakes else MachineError, f"experiment {name!r} cannot be run")


def check_experiment(experiment: Experiment) -> Checked:
    """Look for everything that would stop an experiment; nothing is written, trained or fetched."""
    return _Check(experiment).run()


class _Check:
    """One check: the mistakes so far, and what is lacking."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment, self._mistakes, self._lacking = experiment, Mistakes(), Mistakes()

    def run(self) -> Checked:
        experiment = self._experiment
        for label in experiment.recipes:
            with self._noting("recipe" if label == "main" else f"further.{label}"):
                recipe_of(experiment, label)
        with self._noting("device"):
            resolve_device(experiment.device)
        self._arms()
        self._data()
        self._metrics(experiment.quality)
        with self._noting("compare"), needs_extra("scipy", "eval", "comparing arms"):
            import scipy  # noqa: F401
            import statsmodels  # noqa: F401
        mistakes, lacking = (tuple(dict.fromkeys(found.found)) for found in (self._mistakes, self._lacking))
        return Checked(mistakes=mistakes, lacking=lacking)

    def _arms(self) -> None:
        for settings in dict.fromkeys(arm.settings for arm in self._experiment.arms):
            names = ", ".join(arm.name for arm in self._experiment.arms if arm.settings == settings)
            with self._noting(f"arms {names}"):
                _try_network(settings)

    def _data(self) -> None:
        choice = self._experiment.data
        if choice.kind == "folders":
            note_mistakes(choice, self._mistakes)
            return
        with self._noting("data"), needs_extra("scikit-image", "samples", f"data of kind {choice.kind}"):
            import skimage  # noqa: F401

    def _metrics(self, choice: QualityChoice) -> None:
        """A run leaves out what is optional and lacks weights or packages; its name must be one all the same."""
        from srcache.study.quality.pyiqa_metrics import BASIC, metric_name, require_metric

        with self._noting("quality"), needs_extra("scikit-image", "eval", "image quality"):
            import skimage.metrics  # noqa: F401
        for name in choice.metrics:
            try:
                if metric_name(name) not in BASIC:
                    require_metric(metric_name(name))
            except ConfigError as error:
                self._mistakes.note(f"quality.metrics: {error}")
            except SrcacheError as error:
                if not choice.optional:
                    self._lacking.note(f"quality.metrics: {error}")

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """Around a check: what it raises is noted, as a mistake or as lacking."""
        try:
            yield
        except ConfigError as error:
            for line in _sentences(error):
                self._mistakes.note(f"{what}: {line}")
        except SrcacheError as error:
            self._lacking.note(f"{what}: {error}".replace("\n", "\n    "))


def _sentences(error: SrcacheError) -> list[str]:
    """The mistakes that an error lists, without its head; or its one sentence."""
    lines = [line.removeprefix("  - ") for line in str(error).splitlines()]
    return lines[1:] if len(lines) > 1 else lines


def _try_network(settings: TrainSettings) -> None:
    """Build a network without memory for its weights.

    Raises:
        ConfigError: no such network, images that are too small for it, or a precision that its device has not.
        MachineError: no such device.
    """
    import torch

    from srcache.study.train.batches import autocast_dtype
    from srcache.study.train.networks import build_network

    autocast_dtype(resolve_device(settings.device), settings.precision)
    with torch.device("meta"):
        build_network(settings.network, 2, settings.input_size)
