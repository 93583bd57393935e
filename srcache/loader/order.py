"""Which items each batch has: torch's own samplers, asked at the moments at which a DataLoader asks them.

A generator that is shared (by the sampler, the loader and perhaps the loop) gives the same numbers to everybody only if
all draw in the same order. A DataLoader draws one number when it is iterated, asks the sampler for the first batches at
once if it has workers, and for one more each time that it gives a batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Order:
    """The batches of one epoch, as lists of indices.

    Args:
        batches: a batch sampler, as DataLoader has it.
        generator: the loader's; None for torch's own.
        workers: whether a DataLoader would have any.
        start: the state of the random numbers that the epoch began with, and how many batches of it to leave out.

    Attributes:
        random: the state of the random numbers at the beginning.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        generator: "Generator | None",
        *,
        workers: bool,
        start: "tuple[Tensor | None, int]" = (None, 0),
    ) -> None:
        import torch

        random, skipped = start
        if random is not None and generator is not None:
            generator.set_state(random)
        apart = torch.random.fork_rng(devices=[]) if random is not None and generator is None else nullcontext()
        with apart:
            if random is not None and generator is None:
                torch.set_rng_state(random)
            self.random = torch.get_rng_state() if generator is None else generator.get_state()
            self._batches: Iterator[Any] = iter(batches)
            torch.empty((), dtype=torch.int64).random_(generator=generator)  # a DataLoader's seed of its workers
            if workers:
                self._batches = iter(batches)
            for _ in range(skipped):
                self.next()

    def next(self) -> list[int] | None:
        """The next batch, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else [int(index) for index in batch]
