"""Which images of an arm cannot be read as they will be served; and the rule that a training uses all of them or none.

A training never shrinks in silence: a smaller set is another set. So that nobody mends one file a run, all images that
cannot be used are found in one pass over them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from srcache.cache.failures import FailedEntry, failed_image, failures_by_reason
from srcache.errors import ImageError, ImagesError, MissError
from srcache.maintain.ahead import work_ahead
from srcache.progress import Progress, throttled
from srcache.study.arms.arms import ArmDataset
from srcache.study.arms.sets import ArmSets
from srcache.wording import counted

_MOST = 20
"""Images that a message lists; its error has all of them."""


def unusable(data: ArmDataset, epochs: Iterable[int] = (0,), progress: Progress | None = None) -> list[FailedEntry]:
    """The images of an arm that cannot be read in a variant that they have in these epochs, and why.

    Args:
        data: the arm. What could not be catalogued is among what is found.
        epochs: for which variants are chosen.
        progress: called with (done, total) images.
    """
    found, show = list(data.left_out), throttled(progress)
    outcomes = work_ahead(partial(_problem, data, tuple(epochs)), range(len(data)))
    for done, problem in enumerate(outcomes, 1):
        found += [problem] if problem else []
        show(done, len(data))
    return found


def require_usable(sets: ArmSets, epochs: int, progress: Progress | None = None) -> None:
    """Refuse a training of which some images cannot be used, in whatever set and variant.

    Args:
        sets: what is trained on, and measured on in the last epoch's variants.
        epochs: how many.
        progress: called with (done, total) images.

    Raises:
        ImagesError: they are counted by reason and listed, by their paths.
    """
    failures, done, total = list[FailedEntry](), 0, sum(map(len, sets.named.values()))
    for name, data in sets.named.items():
        seen = range(epochs) if name == "train" else range(epochs - 1, epochs)
        before = done

        def show(count: int, _all: int, before: int = before) -> None:
            if progress is not None:
                progress(before + count, total)

        failures += [replace(one, source=_path(data, one.source)) for one in unusable(data, seen, show)]
        done += len(data)
    failures = list(dict.fromkeys(failures))  # a share for validation is of one folder with the rest of it
    if failures:
        raise ImagesError(
            f"{refused(failures)}\nrepair or remove them (of an SR image that is missing, `srcache build` says why); a "
            "training on the rest would be another one",
            failures,
        )


def refused(failures: Sequence[FailedEntry]) -> str:
    """The beginning of a message: how many images cannot be used, for which reasons, and the first of them."""
    counts = ", ".join(f"{reason} {count}" for reason, count in failures_by_reason(failures).items())
    lines = [f"  {one.reason}: {one.source}: {one.detail}" for one in failures[:_MOST]]
    lines += [f"  … and {len(failures) - _MOST} more (--json lists all)"] if len(failures) > _MOST else []
    return "\n".join([f"{counted(len(failures), 'image')} cannot be used ({counts}):", *lines])


def _problem(data: ArmDataset, epochs: Sequence[int], index: int) -> FailedEntry | None:
    try:
        data.check(index, epochs)
    except (ImageError, MissError, MemoryError) as error:
        return failed_image("", data.names[index], error)
    return None


def _path(data: ArmDataset, name: str) -> str:
    return str(data.root / name) if data.root is not None else name
