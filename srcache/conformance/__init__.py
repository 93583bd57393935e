"""What a plug-in must promise, as checks that its author can run in one line.

    from srcache.conformance import check_engine
    from srcache.engine import Setup

    check_engine("my-engine", Setup(scale=4))

A store's author calls `check_store` in the same way.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from srcache.conformance.engine import ENGINE_CHECKS, EngineTrial, failure_stays_alone, some_images
from srcache.conformance.store import STORE_CHECKS, store_trial
from srcache.engine.interface import Setup, SREngine
from srcache.engine.registry import open_engine
from srcache.errors import ConfigError, ConformanceError
from srcache.stores import Store

if TYPE_CHECKING:
    from torch import Tensor

_Trial = TypeVar("_Trial")


def check_engine(
    engine: str | Callable[[], SREngine],
    setup: Setup,
    *,
    batch: int = 4,
    size: tuple[int, int] = (24, 32),
    failing: "Tensor | None" = None,
) -> list[str]:
    """Check that an engine keeps what `SREngine` promises.

    Args:
        engine: an installed engine's name, or a function that builds one as `setup` says. It is called twice, so
            that an engine which starts from a random state is found out.
        setup: what the engine is, or was, built with; its scale and device are used.
        batch: images per call, at least 2.
        size: (height, width) in pixels of the images of most checks.
        failing: an image, float tensor (3, *size) in [0, 1], that the engine answers with a `Failure`, if there is
            one. Only with it can it be checked that a failure leaves its batch mates alone.

    Returns:
        The names of the checks that were made; all of them passed.

    Raises:
        ConformanceError: at least one promise is broken; the message lists all of them.
        SrcacheError: the engine cannot be built, or batch is below 2.
    """
    if batch < 2:
        raise ConfigError(f"batch must be at least 2, so that images have company, but is {batch}")
    build = engine if callable(engine) else (lambda: open_engine(engine, setup))
    built = build()
    trial = EngineTrial(
        name=engine if isinstance(engine, str) else None,
        build=build,
        setup=setup,
        engine=built,
        images=some_images(batch, size),
        seeds=[2**64 - 1 - 977 * place for place in range(batch)],
        failing=failing,
    )
    checks = ENGINE_CHECKS if failing is None else (*ENGINE_CHECKS, failure_stays_alone)
    return _run_checks(f"engine {trial.name or type(built).__name__}", checks, trial)


def check_store(open_one: Callable[[str], Store], *, persistent: bool = True) -> list[str]:
    """Check that a kind of store keeps what `Store` promises.

    Args:
        open_one: opens a writable store by a name, which is a short word. A name that was never given before means a
            store without entries; the same name again, the same store.
        persistent: whether a store outlives `close`; what lives in memory need not.

    Returns:
        The names of the checks that were made; all of them passed.

    Raises:
        ConformanceError: at least one promise is broken; the message lists all of them.
    """
    return _run_checks("the store", STORE_CHECKS, store_trial(open_one, persistent))


def _run_checks(who: str, checks: Sequence[Callable[[_Trial], None]], trial: _Trial) -> list[str]:
    """Run all checks on a trial; their names if all pass, else one error that lists those that do not."""
    names = [check.__name__.strip("_").replace("_", " ") for check in checks]
    failures = [_failure(check, trial) for check in checks]
    broken = [f"{name}: {failure}" for name, failure in zip(names, failures, strict=True) if failure]
    if broken:
        raise ConformanceError(f"{who} breaks {len(broken)} of {len(checks)} promises:\n  - " + "\n  - ".join(broken))
    return names


def _failure(check: Callable[[_Trial], None], trial: _Trial) -> str | None:
    """Why a check fails, or None if it passes."""
    try:
        check(trial)
    except ConformanceError as error:
        return str(error)
    except Exception as error:  # whatever a third-party plug-in raises is a broken promise, listed with the others
        return f"it raised {error!r}"
    return None
