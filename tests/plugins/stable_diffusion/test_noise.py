"""SeeSR's noise: the reference program's draws from its seeds, and an image's own whatever its company."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seesr_fixtures import case, cases
from srcache_plugins.stable_diffusion.noise import Noise, seed_of_reference

CPU = torch.device("cpu")
SEEDS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**32))


def noise(seeds, size=(5, 7), parity=False, guided=True):
    return Noise(seeds, size, CPU, parity=parity, guided=guided)


@pytest.mark.parametrize("name", [*cases("d_loop"), *cases("e_tiled")])
def test_parity_draws_what_the_reference_drew(name):
    meta, tensors = case(name)
    call, size = meta["call"], tuple(tensors["rand.initial"].shape[-2:])
    own = noise([call["seed_generator"]], size, parity=True)
    for wanted in (tensors["rand.initial"], *tensors["rand.steps"]):
        assert torch.equal(own.draw(), wanted)
    if "rand.posterior" in tensors:
        guided = call["guidance"] > 1
        assert len(tensors["rand.posterior"]) == (2 if guided else 1)
        other = noise([call["seed_global"]], size, parity=True, guided=guided)
        assert torch.equal(other.draw_posterior(), tensors["rand.posterior"][:1])


@given(SEEDS, st.booleans(), st.booleans(), st.booleans())
def test_draws_come_from_one_generator_an_image_or_two_with_parity(seed, parity, guided, asked):
    own = torch.Generator().manual_seed(seed % 2**32)
    other = torch.Generator().manual_seed(seed % 2**32) if parity else own
    drawn = noise([seed], parity=parity, guided=guided)
    assert torch.equal(drawn.draw()[0], torch.randn((4, 5, 7), generator=own))
    if asked:
        rows = 2 if parity and guided else 1
        assert torch.equal(drawn.draw_posterior()[0], torch.randn((rows, 4, 5, 7), generator=other)[0])
    for _ in range(3):
        assert torch.equal(drawn.draw()[0], torch.randn((4, 5, 7), generator=own))


@given(st.lists(SEEDS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_an_images_noise_does_not_depend_on_its_company(seeds, parity, guided):
    together = noise(seeds, parity=parity, guided=guided)
    alone = [noise([seed], parity=parity, guided=guided) for seed in seeds]
    for act in ("draw", "draw_posterior", "draw", "draw"):
        assert torch.equal(getattr(together, act)(), torch.cat([getattr(each, act)() for each in alone]))


@pytest.mark.parametrize("guided", [False, True])
def test_the_two_ways_differ_in_the_posterior_and_in_what_follows_it(guided):
    ways = [noise([5], parity=parity, guided=guided) for parity in (False, True)]
    first = [way.draw() for way in ways]
    assert torch.equal(*first)
    posteriors = [way.draw_posterior() for way in ways]
    assert not torch.equal(*posteriors)
    same = posteriors[1] == first[1]  # the second generator begins with the same seed
    assert same.flatten()[:16].all()
    assert same.all() == (not guided), "the last numbers depend on how many are drawn at once"
    assert not torch.equal(ways[0].draw(), ways[1].draw())


@pytest.mark.parametrize("guided", [False, True])
def test_the_two_ways_are_one_where_no_image_is_encoded(guided):
    ways = [noise([5, 2**63 + 7], parity=parity, guided=guided) for parity in (False, True)]
    for _ in range(4):
        assert torch.equal(ways[0].draw(), ways[1].draw())


def test_no_noise_is_drawn_twice_for_an_image():
    drawn = noise([1])
    made = [drawn.draw(), drawn.draw_posterior(), drawn.draw(), drawn.draw()]
    assert len({tuple(each.flatten().tolist()) for each in made}) == 4


@given(SEEDS)
def test_of_a_seed_the_last_32_bits_count(seed):
    assert 0 <= seed_of_reference(seed) < 2**32
    assert torch.equal(noise([seed]).draw(), noise([seed_of_reference(seed)]).draw())
    assert torch.equal(noise([seed], parity=True).draw(), noise([seed]).draw())


def test_shapes_and_types():
    drawn = noise([1, 2, 3], (5, 7), parity=True)
    for each in (drawn.draw(), drawn.draw_posterior()):
        assert each.shape == (3, 4, 5, 7)
        assert each.dtype == torch.float32


def test_the_programs_own_generator_is_left_alone():
    torch.manual_seed(3)
    wanted = torch.randn(20)
    torch.manual_seed(3)
    drawn = noise([1, 2], parity=True)
    drawn.draw()
    drawn.draw_posterior()
    assert torch.equal(torch.randn(20), wanted)


@pytest.mark.gpu
def test_noise_is_the_same_on_a_gpu():
    seeds, gpu = [1, 2**40 + 3], torch.device("cuda")
    here, there = noise(seeds, (64, 64)), Noise(seeds, (64, 64), gpu, parity=False, guided=True)
    for act in ("draw", "draw_posterior", *["draw"] * 20):
        assert torch.equal(getattr(there, act)().cpu(), getattr(here, act)())
