"""A few images of each class: nested, the same for every arm, and another draw for each seed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from srcache.study.arms.arms import ArmDataset
from srcache.study.arms.few import few_of_each


def _data(labels, arm="sr"):
    count = len(labels)
    return ArmDataset(
        arm=arm,
        classes=tuple(sorted(set(labels))),
        names=tuple(f"{at}.png" for at in range(count)),
        keys=tuple(f"key{at}" for at in range(count)),
        labels=tuple(labels),
        inputs={"arm": arm},
        places=tuple(range(count)),
        read=lambda place: place,
    )


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_so_many_of_each_class_or_all_that_there_are_in_their_order_and_nested(labels, count, seed):
    data = _data(labels)
    few = few_of_each(data, count, seed)
    assert Counter(few.labels) == {name: min(count, held) for name, held in Counter(labels).items()}
    assert list(few.places) == sorted(few.places)
    assert set(few.places) <= set(few_of_each(data, count + 1, seed).places)


def test_every_arm_gets_the_same_images_whatever_else_is_there_and_each_seed_its_own():
    labels = ["a", "b"] * 40
    draws = {seed: few_of_each(_data(labels), 5, seed).names for seed in range(6)}
    assert len(set(draws.values())) == 6
    assert few_of_each(_data(labels, "bicubic"), 5, 3).names == draws[3]
    turned = _data(labels).subset(range(79, -1, -1))
    assert set(few_of_each(turned, 5, 3).names) == set(draws[3])
    assert few_of_each(_data(labels), 5, 3).inputs != few_of_each(_data(labels), 5, 4).inputs
