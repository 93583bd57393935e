"""The factor of mod-crop that sizes tell: found where one fits, and not where images show the whole reference."""

import pytest

from srcache.study.quality.mod_crop import fitting_factor, is_exact, part_of

HR = [(250, 187), (33, 64), (47, 81), (48, 48)]


def cut(factor: int, scale: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of which each image is `scale` times the LR image of its reference, made after mod-crop."""
    return [((h // factor * scale, w // factor * scale), (h, w)) for h, w in HR]


def squeezed(factor: int, scale: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The same, with sides rounded half up instead."""
    return [
        (tuple((2 * side + factor) // (2 * factor) * scale for side in pair), pair)  # type: ignore[misc]
        for pair in HR
    ]


@pytest.mark.parametrize("factor", [2, 3, 4, 6, 8])
def test_the_factor_of_lr_and_of_sr(factor: int) -> None:
    assert fitting_factor(cut(factor, factor), any_scale=False) == factor
    assert fitting_factor(cut(factor, 1), any_scale=True) == factor


def test_sr_may_be_smaller_than_hr_where_one_of_a_pair_is_resized() -> None:
    assert fitting_factor(cut(6, 4), any_scale=True) == 6
    assert fitting_factor(cut(6, 4), any_scale=False) == 1


@pytest.mark.parametrize("scale", [1, 4])
def test_images_of_the_whole_reference_squeezed_speak_against_a_factor(scale: int) -> None:
    assert fitting_factor(squeezed(4, scale), any_scale=True) == 1


def test_one_odd_pair_does_not_hide_the_factor() -> None:
    assert fitting_factor([*cut(4, 4), ((20, 99), (250, 187))], any_scale=False) == 4


def test_where_nothing_is_to_be_cut_there_is_no_factor() -> None:
    assert fitting_factor([(pair, pair) for pair in HR], any_scale=False) == 1
    assert fitting_factor([((16, 20), (32, 40)), ((15, 20), (32, 40))], any_scale=True) == 1
    assert fitting_factor([], any_scale=False) == 1


@pytest.mark.parametrize(
    ("image", "reference", "exact"),
    [((8, 8), (8, 8), True), ((4, 6), (8, 12), True), ((16, 24), (8, 12), True), ((4, 6), (8, 13), False)],
)
def test_exact_multiples(image: tuple[int, int], reference: tuple[int, int], exact: bool) -> None:
    assert is_exact(image, reference) is exact


def test_a_side_shorter_than_the_factor_stays() -> None:
    assert [part_of(side, 4) for side in (3, 4, 7, 8)] == [3, 4, 4, 8]


def test_a_side_shorter_than_the_factor_does_not_speak_against_it() -> None:
    assert fitting_factor([*cut(3, 3), ((126, 3), (128, 2))], any_scale=False) == 3
