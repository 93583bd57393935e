"""A few images of each class: what is left of a training set when labels are scarce.

Which ones is a function of (seed, key) alone, so that every arm gets the same images; and fewer of a seed are always
among more of it.
"""

from collections import Counter
from hashlib import blake2b

from srcache.study.arms.arms import ArmDataset


def few_of_each(data: ArmDataset, count: int, seed: int) -> ArmDataset:
    """At most `count` images of each class, in their old order."""
    digests = [blake2b(f"srcache.few/{seed}/{key}".encode(), digest_size=16).digest() for key in data.keys]
    taken, kept = Counter[str | None](), list[int]()
    for index in sorted(range(len(data)), key=lambda index: (digests[index], index)):
        label = data.labels[index]
        if taken[label] < count:
            taken[label] += 1
            kept.append(index)
    return data.subset(sorted(kept))
