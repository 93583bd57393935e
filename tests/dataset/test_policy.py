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

from srcache.dataset.policy import COLUMNS, KINDS, Condition, Policy, Term, Variant, parse_filter
from srcache.errors import PolicyError
from srcache.keys import image_key

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


@pytest.mark.medium
def test_choices_are_the_same_in_another_process():
    code = (
        "import sys; from srcache.dataset.policy import Policy; p = Policy.parse('lr=0.5,sr=0.5', seed=3);"
        "print(*(p.pick(key, 5, 3) for key in sys.argv[1:]))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, *KEYS[:20]], capture_output=True, text=True, check=True
    ).stdout
    policy = Policy.parse("lr=0.5,sr=0.5", seed=3)
    assert printed.strip() == " ".join(str(policy.pick(key, 5, 3)) for key in KEYS[:20])


@pytest.mark.medium
@given(TERMS, st.integers(0, 9), st.integers(0, 99), st.integers(1, 20), st.randoms(use_true_random=False))
def test_neither_visiting_order_nor_written_order_matters(terms, seed, epoch, samples, rng):
    policy = Policy.parse(_written(terms), seed)
    first = {key: policy.pick(key, epoch, samples) for key in KEYS[:50]}
    items = list(terms.items())
    rng.shuffle(items)
    other = Policy.parse(_written(dict(items)), seed)
    assert other == policy
    assert {key: other.pick(key, epoch, samples) for key in rng.sample(KEYS[:50], 50)} == first


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


def test_seeds_and_epochs_choose_anew_and_independently():
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


def test_policies_can_be_pickled():
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
        ("sr[safe>0.9", "made of hr, lr and sr"),
        ("sr[safe>0.9]]", "made of hr, lr and sr"),
        ("sr=0.5[safe>0.9]", "weight must be a number, but got '0.5"),
        ("[safe>0.9]sr", "made of hr, lr and sr"),
        ("lr[safe>0.9]", "only sr can be filtered, but got 'lr"),
        ("hr[safe>0.9]=1,lr", "only sr can be filtered"),
        ("sr[]", "such as safe>0.9, joined by &; .*; but got ''"),
        ("sr[safe>0.9&]", "joined by &; .*; but got ''"),
        ("sr[safe]", "the names are safe, agree, feature_distance, back_projection, back_projection_error; but got"),
        ("sr[danger>0.9]", "but got 'danger>0.9'"),
        ("sr[safe=0.9]", "one of > >= < <="),
        ("sr[safe=>0.9]", "one of > >= < <="),
        ("sr[0.9<safe]", "one of > >= < <="),
        ("sr[0.1<safe<0.9]", "one of > >= < <="),
        ("sr[safe>much]", "bound must be a number, but got 'safe>much'"),
        ("sr[safe>nan]", "bound must be finite"),
        ("sr[safe<inf]", "bound must be finite"),
        ("sr[safe>0.9],sr[safe>0.90]", "named once"),
        ("sr[safe>0.5&agree>0.5],sr[agree>0.5&safe>0.5]", "named once"),
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


@pytest.mark.medium
@given(st.text("hlrs#=.,:;019 e-[]<>&afe", max_size=16) | st.from_regex(r"\A(sr\[safe[<>]=?[0-9.e-]{1,4}\],?)+\Z"))
def test_any_text_is_a_policy_or_a_mistake(text):
    try:
        policy = Policy.parse(text)
    except PolicyError:
        return
    assert policy.pick(KEYS[0], 3, 2, lambda _key, _filter: range(2)).kind in policy.kinds
    assert Policy.parse(str(policy), policy.seed) == policy


# --- filters ---

FILTERS = ["safe>0.9", "safe>=0.5", "agree<0.25", "back_projection>=30&safe>0.1"]
FILTERED = st.dictionaries(
    st.builds(
        lambda name, conditions: f"{name}[{conditions}]" if name.startswith("sr") and conditions else name,
        NAMES,
        st.sampled_from(["", *FILTERS]),
    ),
    st.floats(0.01, 100),
    min_size=1,
)
TABLES = st.lists(st.dictionaries(st.sampled_from(FILTERS), st.booleans()), min_size=12, max_size=12)


def answers(table):
    """A stand-in for a side table: which of 12 samples pass, by the filter's text; the same for every key."""
    marks = {parse_filter(text): [row.get(text, False) for row in table] for text in FILTERS}
    return lambda _key, conditions: [sample for sample, passes in enumerate(marks[conditions]) if passes]


def is_share(share, number, counted):
    return abs(counted - share * number) <= 4 * math.sqrt(share * (1 - share) * number)


def test_filtered_choices_are_frozen():
    policy = Policy.parse("hr=1,lr=1,sr[safe>0.9]=2", seed=7)
    key = "acd23e1018cd219a59a9e1e9a9572bb8"

    def written(passing):
        picked = [policy.pick(key, epoch, 4, lambda *_: passing) for epoch in range(12)]
        return [variant.kind if variant.sample is None else f"sr#{variant.sample}" for variant in picked]

    everything = ["hr", "lr", "lr", "sr#3", "sr#3", "sr#1", "lr", "sr#1", "hr", "hr", "sr#0", "sr#2"]
    assert written([0, 1, 2, 3]) == everything, FROZEN
    assert written([1, 3]) == [*everything[:10], "sr#1", "sr#3"], FROZEN
    assert written([]) == ["hr", "hr", "hr", "lr", "lr", "lr", "hr", "lr", "hr", "hr", "lr", "lr"], FROZEN


@given(TERMS, st.integers(0, 9), st.integers(0, 99), st.integers(10, 12))
def test_what_passes_everything_is_served_as_without_filters(terms, seed, epoch, samples):
    plain = Policy.parse(_written(terms), seed)
    filtered = {f"{name}[safe>0.9]" if name.startswith("sr") else name: weight for name, weight in terms.items()}
    policy = Policy.parse(_written(filtered), seed)
    for key in KEYS[:40]:
        assert policy.pick(key, epoch, samples, lambda *_: range(12)) == plain.pick(key, epoch, samples)


@pytest.mark.medium
@given(TERMS, st.integers(0, 9), st.integers(0, 99), st.integers(1, 12))
def test_what_passes_nothing_is_served_by_the_other_terms(terms, seed, epoch, samples):
    rest = {name: weight for name, weight in terms.items() if not name.startswith("sr")}
    filtered = {f"{name}[safe>0.9]" if name.startswith("sr") else name: weight for name, weight in terms.items()}
    policy = Policy.parse(_written(filtered), seed)
    assert policy.serves_all == policy.serves(KEYS[0], samples, lambda *_: ()) == bool(rest)
    for key in KEYS[:40]:
        if rest:
            alone = Policy.parse(_written(rest), seed)
            assert policy.pick(key, epoch, samples, lambda *_: ()) == alone.pick(key, epoch, samples)
        else:
            with pytest.raises(PolicyError, match=f"leaves nothing for image {key} at epoch {epoch}; add a plain lr"):
                policy.pick(key, epoch, samples, lambda *_: ())


@pytest.mark.medium
@given(FILTERED, TABLES, st.integers(0, 9), st.integers(0, 99), st.integers(1, 12))
def test_only_samples_that_pass_are_served(terms, table, seed, epoch, samples):
    policy, passing = Policy.parse(_written(terms), seed), answers(table)
    fits = {Variant(name) for name in terms if name in ("hr", "lr")}
    for name in terms:
        bare, _, conditions = name.rstrip("]").partition("[")
        chosen = set(passing("", parse_filter(conditions))) if conditions else set(range(1000))
        if bare.startswith("sr"):
            fits |= {Variant("sr", one) for one in ({int(bare[3:])} if "#" in bare else set(range(samples))) & chosen}
    assert policy.serves(KEYS[0], samples, passing) == bool(fits)
    for key in KEYS[:20] if fits else ():
        assert policy.pick(key, epoch, samples, passing) in fits


def test_shares_follow_the_weights_of_what_is_left():
    policy = Policy.parse("hr=1,lr=2,sr[safe>0.9]=7", seed=11)
    good = {key: number % 3 == 0 for number, key in enumerate(KEYS)}
    picked = {key: policy.pick(key, 2, 4, lambda key, _: (1, 3) if good[key] else ()) for key in KEYS}
    passed = Counter(picked[key] for key in KEYS if good[key])
    failed = Counter(picked[key].kind for key in KEYS if not good[key])
    number = sum(good.values())
    assert is_share(0.35, number, passed[Variant("sr", 1)])
    assert is_share(0.35, number, passed[Variant("sr", 3)])
    assert is_share(0.2, number, passed[Variant("lr")])
    assert is_share(1 / 3, len(KEYS) - number, failed["hr"])
    assert set(failed) == {"hr", "lr"}


@pytest.mark.medium
@given(FILTERED, FILTERED, st.integers(0, 2**40))
def test_a_policy_reads_as_it_is_written(first, second, seed):
    policy = Policy.parse(f"0: {_written(first)}; 7: {_written(second)}", seed)
    assert Policy.parse(str(policy), seed) == policy
    assert str(Policy.parse(str(policy), seed)) == str(policy)
    alone = Policy.parse(_written(first), seed)
    assert Policy.parse(str(alone), seed) == alone
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(policy) == hash(Policy.parse(str(policy), seed))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("sr,lr", "lr=1,sr=1"),
        ("lr=.5,sr[safe>0.90]=.5", "lr=0.5,sr[safe>0.9]=0.5"),
        ("sr#02[ back_projection >= 30.0 & agree>.5 ]", "sr#2[agree>0.5&back_projection>=30]=1"),
        ("0: lr; 10: sr[safe<1e-3], sr=1e22", "0: lr=1; 10: sr=1e+22,sr[safe<0.001]=1"),
    ],
)
def test_how_a_policy_is_written(text, written):
    assert str(Policy.parse(text)) == written


def test_what_a_filter_means():
    assert parse_filter("safe >= 0.5&agree>0.5&safe>=.5") == (
        Condition("agree", ">", 0.5),
        Condition("safe", ">=", 0.5),
    )
    values = (0.4, 0.5, 0.6, math.nan)
    signs = {sign: Condition("safe", sign, 0.5) for sign in (">", ">=", "<", "<=")}
    holding = {sign: [value for value in values if one.holds(value)] for sign, one in signs.items()}
    assert holding == {">": [0.6], ">=": [0.5, 0.6], "<": [0.4], "<=": [0.4, 0.5]}
    for column in COLUMNS:
        assert Policy.parse(f"sr[{column}>1]").filters == ((Condition(column, ">", 1.0),),)
    assert Policy.parse("0: lr,sr; 1: sr#1").filters == ()
    assert Policy.parse("0: sr[safe>0.5]; 1: sr[safe>0.5],sr[agree>0.5]").filters == (
        parse_filter("agree>0.5"),
        parse_filter("safe>0.5"),
    )


def test_a_policy_without_filters_is_the_value_that_it_was():
    terms = (Term(kind="lr", sample=None, weight=0.5), Term(kind="sr", sample=2, weight=0.5))
    assert Policy.parse("lr=0.5,sr#2=0.5", seed=3) == Policy(stages=((0, terms),), seed=3)


def test_filters_without_measurements_are_refused():
    with pytest.raises(PolicyError, match=r"term sr\[safe>0.9\]=1 asks for measurements"):
        Policy.parse("sr[safe>0.9]").pick(KEYS[0], 0)
