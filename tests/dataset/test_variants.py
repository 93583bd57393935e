"""What mixtures draw: a pure function of (seed, epoch, key), against a second implementation, and as often as asked."""

import hashlib
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.dataset.policy import Policy
from srcache.dataset.variants import Blend, Blending, Patch, Patching, Variant, mixing_text, parse_mixing, uniform_pair
from srcache.errors import PolicyError
from srcache.keys import image_key

KEYS = [image_key(str(number).encode()) for number in range(2000)]
LR, SR = Variant("lr"), Variant("sr", 0)
PATCH_CELLS = "01010001000100000100000101010101"
BLEND_WEIGHTS = [30, 136, 54, 163, 107, 148]
FROZEN = "this change serves other mixtures than the same training run did before"


def test_what_is_drawn_is_frozen():
    key = "acd23e1018cd219a59a9e1e9a9572bb8"
    patch, blend = Policy.parse("patch(lr,sr)", seed=7), Policy.parse("blend(lr,sr)", seed=7)
    assert patch.pick(key, 3) == Patch("patch", of=(LR, SR), cells=bytes.fromhex(PATCH_CELLS)), FROZEN
    assert [256 * blend.pick(key, epoch).weight for epoch in range(6)] == BLEND_WEIGHTS, FROZEN


@given(st.text(max_size=20), st.integers(2, 32), st.floats(0.001, 0.999))
def test_cells_are_numbers_below_the_share(name, grid, share):
    drawn = Patching(grid=grid, share=share).draw(name, (LR, SR))
    stream = np.frombuffer(hashlib.shake_128(name.encode() + b"/patch").digest(4 * grid**2), ">u4")
    assert list(drawn.cells) == (stream / 2**32 < share).astype(int).tolist()
    assert (drawn.grid, drawn.kind, drawn.of, drawn.samples) == (grid, "patch", (LR, SR), (0,))


@given(st.text(max_size=20), st.floats(0, 0.5), st.floats(0.5, 0.9))
def test_a_weight_lies_between_its_bounds_in_steps(name, least, most):
    drawn = Blending(least=least, most=most).draw(name, (SR, LR))
    digest = hashlib.blake2b(name.encode() + b"/blend", digest_size=16).digest()
    exact = least + int.from_bytes(digest[:6], "big") / 2**48 * (most - least)
    assert abs(drawn.weight - exact) <= 1 / 512
    assert (256 * drawn.weight).is_integer()
    assert uniform_pair(name + "/blend")[0] == int.from_bytes(digest[:6], "big") / 2**48


def test_shares_and_weights_are_drawn_as_often_as_asked():
    policy = Policy.parse("patch(lr,sr,grid=4,share=0.25)", seed=1)
    cells = np.array([list(policy.pick(key, 0).cells) for key in KEYS])
    spread = math.sqrt(0.25 * 0.75 / len(KEYS))
    assert np.abs(cells.mean(axis=0) - 0.25).max() < 4.5 * spread
    together = np.corrcoef(cells.T) - np.eye(16)
    assert np.abs(together).max() < 5 / math.sqrt(len(KEYS))
    weights = np.array([Policy.parse("blend(lr,sr,least=0.2,most=0.6)").pick(key, 0).weight for key in KEYS])
    assert 0.2 - 1 / 512 <= weights.min() < 0.21
    assert 0.59 < weights.max() <= 0.6 + 1 / 512
    counts, _ = np.histogram(weights, np.linspace(0.2, 0.6, 9))
    assert np.abs(counts / len(KEYS) - 1 / 8).max() < 0.03


def test_what_is_drawn_depends_on_seed_epoch_and_key_and_not_on_the_choice_of_the_term():
    alone, among = Policy.parse("patch(lr,sr)"), Policy.parse("lr=0.5,patch(lr,sr)=0.5")
    mixed = {key: picked for key in KEYS[:200] if (picked := among.pick(key, 4)).kind == "patch"}
    assert 60 < len(mixed) < 140
    assert all(alone.pick(key, 4) == picked for key, picked in mixed.items())
    seeds = {alone.pick(KEYS[0], 0), alone.pick(KEYS[0], 1), alone.pick(KEYS[1], 0)}
    assert len(seeds | {Policy.parse("patch(lr,sr)", seed=1).pick(KEYS[0], 0)}) == 4
    shares = Counter(among.pick(key, 4).kind for key in KEYS)
    assert abs(shares["patch"] - len(KEYS) / 2) < 4 * math.sqrt(len(KEYS) / 4)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("patch(lr,sr)", "patch(lr,sr)=1"),
        (" patch ( lr , sr#01 , share = .250 , grid = 4 ) = .5 , sr", "patch(lr,sr#1,share=0.25)=0.5,sr=1"),
        ("sr,blend(sr,hr,most=.5),blend(hr,sr)=2", "blend(hr,sr)=2,blend(sr,hr,most=0.5)=1,sr=1"),
        (
            "0: lr; 3: patch(lr,sr[safe>=.9&agree>0])=2,lr",
            "0: lr=1; 3: lr=1,patch(lr,sr[agree>0&safe>=0.9])=2",
        ),
        ("patch(sr#0,sr#2),patch(sr#0,sr#2,grid=32)", "patch(sr#0,sr#2)=1,patch(sr#0,sr#2,grid=32)=1"),
    ],
)
def test_terms_are_written_and_read(text, written):
    policy = Policy.parse(text, seed=3)
    assert str(policy) == written
    assert Policy.parse(written, seed=3) == policy == pickle.loads(pickle.dumps(policy))
    assert hash(policy) == hash(Policy.parse(written, seed=3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patch", r"mixed by patch\(lr,sr\) or blend\(lr,sr\), with the weight behind.* but got 'patch'"),
        ("patch(lr,sr", "mixed by patch"),
        ("patch(lr,sr)0.5", "mixed by patch"),
        ("lr,patches(lr,sr)", "mixed by patch"),
        ("mix(lr,sr)", "made of hr, lr and sr"),
        ("patch()", r"mixes two variants, such as patch\(lr,sr\), but got 'patch\(\)'"),
        ("patch(lr)", "mixes two variants"),
        ("blend(lr,share=0.5)", "two variants without weights"),
        ("blend(lr,grid=4,sr)", "two variants without weights"),
        ("patch(lr,sr,hr)", r"takes two variants and then grid and share, .*patch\(lr,sr,grid=8\), but got 'hr'"),
        ("patch(lr,sd)", "made of hr, lr and sr"),
        ("patch(bicubic,sr)", r"lr is enlarged \(bicubic\) by itself; write lr"),
        ("patch(lr#1,sr)", "only sr has samples"),
        ("patch(lr[safe>0.5],sr)", "only sr can be filtered"),
        ("patch(lr,sr=0.5)", "two variants without weights, and its own weight behind the parentheses"),
        ("patch(lr,patch(lr,sr))", "mixed by patch"),
        ("patch(lr,lr)", "two different variants"),
        ("blend(sr#1,sr#01)", "two different variants"),
        ("blend(sr[safe>0.5],sr)", "two different variants"),
        ("patch(sr,sr#1)", r"name both, such as patch\(sr#0,sr#1\)"),
        ("patch(lr,sr,grid=1)", "grid from 2 to 32 cells along each side, but got 1"),
        ("patch(lr,sr,grid=33)", "grid from 2 to 32"),
        ("patch(lr,sr,grid=4.5)", "a whole number for grid, but got 'grid=4.5'"),
        ("patch(lr,sr,grid=)", "a whole number for grid"),
        ("patch(lr,sr,grid=4,grid=5)", "each once"),
        ("patch(lr,sr,least=0.5)", "but got 'least=0.5'"),
        ("blend(lr,sr,share=0.5)", r"least and most, .*blend\(lr,sr,least=0.25\), but got 'share=0.5'"),
        ("patch(lr,sr,share=0)", "above 0 and below 1, but got 0; name the one variant alone"),
        ("patch(lr,sr,share=1)", "above 0 and below 1"),
        ("patch(lr,sr,share=nan)", "above 0 and below 1"),
        ("patch(lr,sr,share=half)", "a number for share"),
        ("blend(lr,sr,least=0.6,most=0.5)", "0 ≤ least ≤ most ≤ 1.* least=0.6, most=0.5"),
        ("blend(lr,sr,most=1.5)", "0 ≤ least ≤ most ≤ 1"),
        ("blend(lr,sr,least=nan)", "0 ≤ least ≤ most ≤ 1"),
        ("blend(lr,sr,most=0)", "mixes nothing; name the one variant alone"),
        ("blend(lr,sr,least=1)", "mixes nothing"),
        ("blend(lr,sr)=0", "above 0 and finite"),
        ("blend(lr,sr),blend( lr , sr, least=0)", "named once"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(PolicyError, match=words):
        Policy.parse(text)


@pytest.mark.medium
@given(
    st.from_regex(r"\A(,?(patch|blend)\((lr|sr#?[01]?|hr)(,(lr|sr|grid=?\d*|most=0?\.?\d?)){0,3}\)?(=\d?)?){1,2}\Z")
    | st.text("patchblendlrsr(),=#01.[]> ", max_size=20)
)
def test_any_text_is_a_policy_or_a_mistake(text):
    try:
        policy = Policy.parse(text)
    except PolicyError:
        return
    assert Policy.parse(str(policy)) == policy
    assert policy.pick(KEYS[0], 3, 2, lambda _key, _filter: range(2)).kind in policy.kinds | policy.mixes


def test_a_policy_knows_what_its_mixtures_need():
    policy = Policy.parse("0: lr; 2: patch(hr,sr#4),blend(lr,sr[safe>0.5])")
    assert (policy.kinds, policy.mixes, policy.samples) == ({"hr", "lr", "sr"}, {"patch", "blend"}, 5)
    assert [str(one[0]) for one in policy.filters] == ["safe>0.5"]
    assert policy.serves_all
    assert not Policy.parse("blend(lr,sr[safe>0.5])").serves_all
    assert Policy.parse("lr,sr").mixes == frozenset()


@pytest.mark.parametrize(
    ("text", "samples", "constant"),
    [
        ("patch(lr,sr)", 1, False),
        ("blend(lr,sr)", 1, False),
        ("blend(lr,sr,least=0.5,most=0.5)", 1, True),
        ("blend(lr,sr,least=0.5,most=0.5)", 2, False),
        ("blend(lr,sr#1,least=0.5,most=0.5)", 2, True),
        ("0: blend(lr,sr,least=0.5,most=0.5); 2: blend(lr,sr,least=0.6,most=0.6)", 1, False),
        ("0: blend(lr,hr,least=0.5,most=0.5); 2: lr", 1, False),
    ],
)
def test_a_mixture_is_constant_only_if_nothing_is_drawn(text, samples, constant):
    policy = Policy.parse(text)
    assert policy.is_constant(samples) == constant
    assert (len({policy.pick(key, epoch, samples) for key in KEYS[:100] for epoch in (0, 2)}) == 1) == constant


def test_filters_of_a_mixture_leave_an_image_to_the_other_terms_and_choose_among_samples():
    policy = Policy.parse("lr=0.001,blend(lr,sr[safe>0.9])")
    assert {policy.pick(key, 0, 4, lambda *_: []) for key in KEYS[:100]} == {LR}
    assert {policy.pick(key, 0, 4, lambda *_: [1, 3, 9]).samples for key in KEYS[:100]} <= {(1,), (3,), ()}
    with pytest.raises(PolicyError, match=r"leaves nothing for image"):
        Policy.parse("patch(lr,sr[safe>0.9])").pick(KEYS[0], 0, 1, lambda *_: [])


def test_parameters_that_are_the_defaults_are_not_written():
    assert mixing_text(parse_mixing("patch", [])) == ""
    assert mixing_text(parse_mixing("blend", ["most=1", "least=0.125"])) == ",least=0.125"
    assert Blend("blend", of=(LR, SR), weight=0.5) != Blend("blend", of=(SR, LR), weight=0.5)
