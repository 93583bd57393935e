"""Which split an image belongs to: exact shares of every class, by seed and key alone, the same in every release."""

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import ConfigError
from srcache.keys import ImageKey, image_key
from srcache.study.prepare.stratify import SPLITS, assign, exact_shares, quotas

KEYS = st.integers(0, 40).map(lambda n: image_key(str(n).encode()))


IMAGES = st.lists(st.tuples(KEYS, st.sampled_from(["cat", "dog", "eel"])), max_size=80)


RATIOS = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.5, 0, 0.5), (1, 0, 0), (0.333, 0.333, 0.333), (0.6, 0.3, 0.1)]
)


@given(st.dictionaries(KEYS, st.sampled_from(["cat", "dog", "eel"])), RATIOS, st.integers(0, 5))
def test_every_class_gets_its_ratios_to_the_nearest_image(
    labels: dict[ImageKey, str], ratios: tuple[float, ...], seed: int
) -> None:
    shares = exact_shares(ratios)
    where = assign(labels.items(), shares, seed)
    assert where.keys() == labels.keys()
    for label, size in Counter(labels.values()).items():
        found = Counter(where[key] for key in labels if labels[key] == label)
        for name, share in zip(SPLITS, shares, strict=True):
            assert abs(found[name] - share * size) < 1, (label, name)


@given(IMAGES, RATIOS, st.integers(0, 5), st.randoms())
def test_order_does_not_matter(
    files: list[tuple[ImageKey, str]], ratios: tuple[float, ...], seed: int, random: Any
) -> None:
    before = assign(files, exact_shares(ratios), seed)
    random.shuffle(files)
    assert assign(files, exact_shares(ratios), seed) == before


@given(IMAGES)
def test_a_share_of_nothing_gets_nothing(files: list[tuple[ImageKey, str]]) -> None:
    assert set(assign(files, exact_shares((1, 0, 0)), 0).values()) <= {"train"}


def test_another_seed_is_another_split() -> None:
    files = [(image_key(bytes([n])), "cat") for n in range(100)]
    shares = exact_shares((0.5, 0.25, 0.25))
    splits = [assign(files, shares, seed) for seed in range(5)]
    assert all(one != other for place, one in enumerate(splits) for other in splits[:place])


def test_a_split_is_frozen() -> None:
    files = [(image_key(bytes([n])), "cd"[n % 2]) for n in range(20)]
    found = assign(files, exact_shares((0.6, 0.2, 0.2)), 7)
    letters = "".join(found[key][0] for key, _ in files)
    assert letters == "tvttvttttttvttvttttt", "the same data and seed must be the same split in every release"


def test_a_split_is_even_handed() -> None:
    """Over many seeds every image is in the test set equally often."""
    files = [(image_key(bytes([n])), "cat") for n in range(20)]
    hits: Counter[ImageKey] = Counter()
    for seed in range(400):
        where = assign(files, exact_shares((0.8, 0.1, 0.1)), seed)
        hits.update(key for key in where if where[key] == "test")
    assert sum(hits.values()) == 800
    assert all(15 < hits[key] < 75 for key, _ in files)


def test_many_files_of_one_key_do_not_upset_a_class() -> None:
    twin = image_key(b"twin")
    files = [(twin, "cat")] * 30 + [(image_key(bytes([n])), "cat") for n in range(70)]
    where = assign(files, exact_shares((0.8, 0.1, 0.1)), 0)
    assert Counter(where[key] for key, _ in files) == {"train": 80, "validation": 10, "test": 10}


@given(st.integers(0, 1000), RATIOS)
def test_quotas_are_integers_that_sum_to_the_size(size: int, ratios: tuple[float, ...]) -> None:
    shares = exact_shares(ratios)
    assert sum(shares) == 1
    assert sum(quotas(size, shares)) == size
    assert all(abs(quota - share * size) < 1 for quota, share in zip(quotas(size, shares), shares, strict=True))


def test_floats_that_do_not_quite_sum_to_one() -> None:
    assert exact_shares((0.8, 0.1, 0.1)) == (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))
    assert exact_shares((0.333, 0.333, 0.333)) == (Fraction(1, 3),) * 3
    assert exact_shares((0.1 + 0.2, 0.3, 0.4))[2] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "ratios",
    [(0.8, 0.1), (0.8, 0.1, 0.1, 0), (80, 10, 10), (0.8, 0.3, -0.1), (0.5, 0.2, 0.2), (float("nan"), 1, 0), ()],
)
def test_ratios_that_make_no_sense(ratios: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="three numbers from 0 to 1 that sum to 1"):
        exact_shares(ratios)
