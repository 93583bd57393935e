"""Which variant each image gets: a policy, the samples that a cache holds, and the measurements that it filters by."""

from collections.abc import Sequence
from typing import Protocol

from srcache.dataset.lookup import SRImages
from srcache.dataset.policy import Filter, Policy, Variant
from srcache.dataset.scores import ScoreFilter, open_score_filter
from srcache.errors import PolicyError, listed
from srcache.keys import ImageKey


class Named(Protocol):
    """Images by number, each with its key and with what to call it in a message."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> ImageKey:
        """The key of an image."""
        ...

    def name(self, index: int) -> str:
        """What to call an image in a message."""
        ...


class Chooser:
    """Picks an image's variant: a pure function of the policy, its seed, the epoch, the key and what was measured.

    Args:
        policy: which variants, how often.
        images: the cache's.
        samples: SR images per source image, if the cache will have more of them than it was built with up to now.

    Attributes:
        policy: as it was given.
        samples: SR images per source image in the cache.

    Raises:
        PolicyError: the policy names more samples than there are, or filters by what was not measured.
    """

    def __init__(self, policy: Policy, images: SRImages, samples: int = 1) -> None:
        folder = images.folder
        self.policy, self.samples, self._images = policy, max(samples, folder.samples), images
        if policy.samples > self.samples:
            raise PolicyError(
                f"the policy names sample {policy.samples - 1}, but {folder.path.name} was built with "
                f"{self.samples} per image; run `srcache build --samples {policy.samples}` (or `srcache warm`)"
            )
        self.scores: ScoreFilter | None = open_score_filter(folder.path, policy.filters) if policy.filters else None
        constant = policy.is_constant(self.samples) and self.scores is None
        self._always = policy.pick("", 0, self.samples) if constant else None

    @property
    def varies(self) -> bool:
        """Whether an image's variant may change with the epoch."""
        return not self.policy.is_constant(self.samples)

    def pick(self, key: ImageKey, epoch: int) -> Variant:
        """The variant of an image at an epoch."""
        return self._always or self.policy.pick(key, epoch, self.samples, self._passing)

    def require_served(self, images: Named) -> None:
        """Refuse, before the first batch, a policy that leaves nothing for some images.

        Raises:
            PolicyError: how many and which images, and what to add.
        """
        if self.scores is None or self.policy.serves_all:
            return
        scores, keys = self.scores, [images.key(place) for place in range(len(images))]
        left = [place for place, key in enumerate(keys) if not self.policy.serves(key, self.samples, self._passing)]
        if left:
            unknown = sum(not scores.knows(self._measured_as(keys[place], scores)) for place in left)
            rowless = f", {unknown} of which have no row in {scores.path} (`srcache safety` measures them)"
            names = listed([images.name(place) for place in left])
            raise PolicyError(
                f"the policy {self.policy} leaves nothing for {len(left)} of {len(images)} images"
                f"{rowless if unknown else ''}: {names}; add a plain term that serves them, such as lr, or choose "
                "other bounds"
            )

    def _passing(self, key: str, conditions: Filter) -> Sequence[int]:
        """The samples of an image that pass a filter, by the side table."""
        return self.scores.passing(self._measured_as(key, self.scores), conditions) if self.scores else ()

    def _measured_as(self, key: str, scores: ScoreFilter) -> str:
        """The key that an image was measured under: for pixels in memory, that of the file they are of."""
        return key if scores.knows(key) else self._images.file_key(key)
