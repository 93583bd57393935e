"""Policies: what a text means, and that a choice is a pure function of (seed, epoch, key)."""

import math
import pickle
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import PolicyError
from srcache.keys import image_key
from srcache.policy import KINDS, Policy, Variant

KEYS = [image_key(str(number).encode()) for number in range(4000)]
FROZEN = "this change serves other variants than the same training run did before"


def _written(terms):
    return ",".join(f"{name}={weight!r}" for name, weight in terms.items())


NAMES = st.sampled_from(["hr", "lr", "sr", "sr#0", "sr#1", "sr#9"])
TERMS = st.dictionaries(NAMES, st.floats(0.01, 100), min_size=1)


def test_choices_are_frozen():
    policy = Policy.parse("hr=1,lr=1,sr=2", seed=7)
    picked = [policy.pick("acd23e1018cd219a59a9e1e9a9572bb8", epoch, samples=4) for epoch in range(12)]
    written = [variant.kind if variant.sample is None else f"sr#{variant.sample}" for variant in picked]
    assert written == ["hr", "lr", "lr", "sr#3", "sr#3", "sr#1", "lr", "sr#1", "hr", "hr", "sr#0", "sr#2"], FROZEN


def test_the_seed_is_0_and_there_is_one_sample_unless_said():
    assert Policy.parse("lr,sr") == Policy.parse("lr,sr", seed=0)
    assert {Policy.parse("sr").pick(key, 0) for key in KEYS[:50]} == {Variant("sr", 0)}


@given(st.sets(NAMES, min_size=1), st.sets(NAMES), st.integers(1, 3))
def test_a_policy_is_constant_exactly_if_it_serves_one_variant(terms, later, samples):
    policy = Policy.parse(f"0: {','.join(terms)}; " + (f"2: {','.join(later)}" if later else ""))
    if policy.samples > samples:
        return
    served = {policy.pick(key, epoch, samples) for key in KEYS[:300] for epoch in (0, 2)}
    assert policy.is_constant(samples) == (len(served) == 1)


def test_choices_are_the_same_in_another_process():
    code = (
        "import sys; from srcache.policy import Policy; p = Policy.parse('lr=0.5,sr=0.5', seed=3);"
        "print(*(p.pick(key, 5, 3) for key in sys.argv[1:]))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, *KEYS[:20]], capture_output=True, text=True, check=True
    ).stdout
    policy = Policy.parse("lr=0.5,sr=0.5", seed=3)
    assert printed.strip() == " ".join(str(policy.pick(key, 5, 3)) for key in KEYS[:20])


@given(TERMS, st.integers(0, 9), st.integers(0, 99), st.integers(1, 20), st.randoms(use_true_random=False))
def test_neither_visiting_order_nor_written_order_matters(terms, seed, epoch, samples, dice):
    policy = Policy.parse(_written(terms), seed)
    first = {key: policy.pick(key, epoch, samples) for key in KEYS[:50]}
    items = list(terms.items())
    dice.shuffle(items)
    other = Policy.parse(_written(dict(items)), seed)
    assert other == policy
    assert {key: other.pick(key, epoch, samples) for key in dice.sample(KEYS[:50], 50)} == first


@given(TERMS, st.integers(0, 99), st.integers(1, 20))
def test_only_what_is_named_is_served(terms, epoch, samples):
    policy = Policy.parse(_written(terms))
    for key in KEYS[:30]:
        variant = policy.pick(key, epoch, samples)
        if variant.kind == "sr" and "sr" in terms:
            assert variant.sample in {*range(samples), *(int(name[3:]) for name in terms if "#" in name)}
        else:
            assert (variant.kind if variant.sample is None else f"sr#{variant.sample}") in terms
    assert policy.kinds == {name[:2] for name in terms} <= set(KINDS)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("lr=0.5,sr=0.5", {"lr": 0.5, "sr": 0.5}),
        ("lr,sr", {"lr": 0.5, "sr": 0.5}),
        ("hr=1,lr=2,sr=7", {"hr": 0.1, "lr": 0.2, "sr": 0.7}),
        ("sr", {"sr": 1.0}),
        ("lr=1e-3,hr=1e-3", {"lr": 0.5, "hr": 0.5}),
    ],
)
def test_shares_follow_the_weights(text, shares):
    policy = Policy.parse(text, seed=11)
    counts = Counter(policy.pick(key, 2, 4).kind for key in KEYS)
    for kind, share in shares.items():
        spread = math.sqrt(share * (1 - share) * len(KEYS))
        assert abs(counts[kind] - share * len(KEYS)) <= 4 * spread
    assert set(counts) == set(shares)


def test_any_sample_is_served_equally_often_and_independently_of_the_kind():
    policy = Policy.parse("lr=0.5,sr=0.5", seed=5)
    counts = Counter(policy.pick(key, 0, 4).sample for key in KEYS)
    served = len(KEYS) - counts.pop(None)
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(count - served / 4) <= 4 * math.sqrt(served * 3 / 16) for count in counts.values())


def test_seeds_and_epochs_deal_anew_and_independently():
    one, other = Policy.parse("lr,sr", seed=0), Policy.parse("lr,sr", seed=1)
    for another in ([other.pick(key, 0) for key in KEYS], [one.pick(key, 1) for key in KEYS]):
        same = sum(a == one.pick(key, 0) for a, key in zip(another, KEYS, strict=True))
        assert abs(same - len(KEYS) / 2) <= 4 * math.sqrt(len(KEYS) / 4)


def test_a_schedule_changes_at_its_epochs():
    policy = Policy.parse("0: hr; 1: lr; 10: lr=0.5,sr#1=0.5; 20: hr")
    kinds = {epoch: {policy.pick(key, epoch) for key in KEYS[:200]} for epoch in (-1, 0, 1, 9, 10, 19, 20, 10**6)}
    assert kinds[-1] == kinds[0] == {Variant("hr")}
    assert kinds[1] == kinds[9] == {Variant("lr")}
    assert kinds[10] == kinds[19] == {Variant("lr"), Variant("sr", 1)}
    assert kinds[20] == kinds[10**6] == {Variant("hr")}
    assert policy.kinds == {"hr", "lr", "sr"}


@pytest.mark.parametrize(("text", "samples"), [("lr", 1), ("sr", 1), ("sr#0", 1), ("0: sr; 3: sr#2,sr#11", 12)])
def test_how_many_samples_it_takes(text, samples):
    assert Policy.parse(text).samples == samples


@pytest.mark.parametrize(
    "text", ["lr=1,sr=3", " lr = 1 , sr = 3 ", "sr=3,lr=1", "0:lr=1,sr=3", "0: sr=3.0, lr=1.0;", "lr,\n  sr=3"]
)
def test_one_meaning_may_be_written_in_many_ways(text):
    assert Policy.parse(text) == Policy.parse("lr=1,sr=3")


def test_policies_cross_process_borders():
    policy = Policy.parse("0: lr; 5: sr#3=2,hr=0.5", seed=random.Random(0).randrange(2**40))
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty text"),
        (" ; ", "empty text"),
        ("sd", "made of hr, lr and sr"),
        ("LR", "made of hr, lr and sr"),
        ("lr,", "made of hr, lr and sr"),
        ("lr=0.5=0.5", "made of hr, lr and sr"),
        ("lr sr", "made of hr, lr and sr"),
        ("sr#1000", "made of hr, lr and sr"),
        ("lr#1", "only sr has samples"),
        ("lr=", "made of hr, lr and sr"),
        ("lr=half", "weight must be a number, but got 'half'"),
        ("lr=0", "above 0 and finite, but got '0'"),
        ("lr=-1", "above 0 and finite"),
        ("lr=nan", "above 0 and finite"),
        ("lr=inf", "above 0 and finite"),
        ("lr=1e308,sr=1e308", "finite sum"),
        ("lr,sr,lr=2", "named once"),
        ("sr#1,sr#01", "named once"),
        ("1: lr", "start at epoch 0 and rise"),
        ("0: lr; 0: sr", "start at epoch 0 and rise"),
        ("0: lr; 5: sr; 3: hr", "start at epoch 0 and rise"),
        ("0: lr; sr", "each needs its first epoch"),
        ("soon: lr", "written epoch: weights"),
        ("0: 5: lr", "written epoch: weights"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(PolicyError, match=words):
        Policy.parse(text)


@given(st.text("hlrs#=.,:;019 e-", max_size=16))
def test_any_text_is_a_policy_or_a_mistake(text):
    try:
        policy = Policy.parse(text)
    except PolicyError:
        return
    assert policy.pick(KEYS[0], 3, 2).kind in policy.kinds
