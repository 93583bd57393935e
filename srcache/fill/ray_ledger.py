"""What the actors of a fill on Ray ask the process that planned it: whether to go on, and what was begun before."""

import time


class RayLedger:
    """The books of a run, kept by one small actor beside the process that planned it.

    A block that is begun a second time was in the hands of an actor that died, so what is stored of it is this run's
    own. An actor that enters twice was killed in between, and what it wrote until then is another writer's.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._started: float | None = None
        self._begun: set[int] = set()
        self._writers: dict[str, str] = {}
        self._lost: set[str] = set()
        self._in_hand: dict[str, tuple[int, int]] = {}

    def enter(self, actor: str, writer: str) -> None:
        """An actor says as which writer it fills the cache."""
        before = self._writers.get(actor)
        if before is not None:
            self._lost.add(before)
        self._writers[actor] = writer

    def begin(self, block: int) -> bool | None:
        """An actor begins a block; returns whether one did so before, or None where the run is being stopped."""
        if self._stopping:
            return None
        if self._started is None:
            self._started = time.monotonic()
        before = block in self._begun
        self._begun.add(block)
        return before

    def stop(self) -> bool:
        """End the run after the engine calls in hand; returns whether any block was begun."""
        self._stopping = True
        return bool(self._begun)

    def is_stopping(self) -> bool:
        """Whether the run is being stopped."""
        return self._stopping

    def tell(self, actor: str, block: int, done: int) -> bool:
        """An actor says how many entries of its block are done; returns whether the run is being stopped."""
        self._in_hand[actor] = block, done
        return self._stopping

    def in_hand(self) -> list[tuple[int, int]]:
        """The blocks that actors had in hand when they last said so, and how many entries of each were done."""
        return list(self._in_hand.values())

    def seconds(self) -> float:
        """Seconds since the first block was begun."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    def writers(self) -> tuple[list[str], list[str]]:
        """The ids of the writers that are there or ended by themselves, and of those whose actors were killed."""
        return sorted(self._writers.values()), sorted(self._lost)
