"""Curves of sweeps as the report reads them: the values' words, and a sentence that says no more than was shown."""

import pytest

from srcache.study.report.data.curves import answer, read_curves


def _difference(first, second, at, shown=False, against=None, value=0.05):
    low = 0.01 if shown else -0.02
    return {
        "first": first,
        "second": second,
        "at": at,
        "against": at if against is None else against,
        "difference": value,
        "low": low if value > 0 else -0.2,
        "high": 0.11 if value > 0 else -low,
        "shown": shown,
    }


def _sweep(*differences, over="per_class", **changes):
    plain = {"name": "s", "over": over, "images": 480, "seeds": [0, 1, 2], "level": 0.95, "together": True}
    return read_curves({**plain, "differences": list(differences), **changes})


def test_where_curves_part_is_said_with_a_sign_for_each_value():
    words = answer(
        _sweep(
            _difference("sr", "bicubic", 4, True),
            _difference("sr", "bicubic", 16),
            _difference("sr", "bicubic", "all", True, value=-0.031),
            _difference("hr", "sr", 4),
        )
    )
    assert words == (
        "Shown to part, by 95 % intervals over 480 images and 3 seeds that hold for all 4 differences together: "
        "SR − bicubic, at 4 images per class (+5.0 points) and at all images (−3.1 points). "
        "Not shown to part anywhere: HR − SR."
    )


def test_points_of_a_curve_against_its_first_one():
    words = answer(_sweep(_difference("mix on sr", "mix on sr", 50, True, against=0), over="share", together=False))
    assert words == (
        "Shown to part, by 95 % intervals over 480 images and 3 seeds: "
        "mix on SR − its point at 0 %, at 50 % (+5.0 points)."
    )


def test_where_nothing_is_shown_the_nearest_is_named():
    words = answer(_sweep(_difference("sr", "lr", 4, value=0.02), _difference("sr", "lr", 16, value=0.06), seeds=[0]))
    assert words == (
        "The curves are not shown to part anywhere: 95 % intervals over 480 images and 1 seed that hold for all 2 "
        "differences together hold 0. The nearest is SR − LR, at 16 images per class, +6.0 points (−2.0 to +11.0)."
    )
    many = [_difference("a", other, 4, other == "b") for other in "bcdef"]
    assert answer(_sweep(*many)).endswith("Not shown to part anywhere: 4 other pairs of curves.")
    assert answer(_sweep()) == ""
    equal = {**_difference("sr", "lr", 4), "difference": 0.0, "low": None, "high": None}
    assert answer(_sweep(equal)) == "At no point is there a difference to test: all are right on the same images."
    apart = {**equal, "difference": 1.0}
    assert answer(_sweep(apart, equal)).startswith("Where curves part, one is right on every image")
    assert "at 1 image per class (" in answer(_sweep(_difference("sr", "lr", 1, True)))


@pytest.mark.parametrize(
    ("over", "kinds", "unit", "words"),
    [
        ("share", ["sr", "sr", None], "% of SR in the mixture", "25 %"),
        ("share", ["sr", "hr"], "% of the second kind in the mixture", "25 %"),
        ("per_class", [None], "images per class", "25 images per class"),
    ],
)
def test_the_unit_is_that_of_the_values(over, kinds, unit, words):
    sweep = _sweep(over=over, curves=[{"name": "x", "of": kind, "points": []} for kind in kinds])
    assert (sweep.unit, sweep.value(25)) == (unit, words)


def test_points_lie_where_their_values_say_and_what_cannot_be_is_left_out():
    point = {"mean": 0.5, "low": 0.4, "high": 0.6, "accuracy": [0.4, 0.6], "best_epoch": [3, 9], "epochs": [9, 9]}
    rows = [{**point, "value": value, "images_per_class": [90, 96]} for value in (4, 16, "all")]
    (curve,) = _sweep(curves=[{"name": "sr", "points": rows}]).curves
    assert [one.x for one in curve.points] == pytest.approx([2, 4, 6.585], abs=1e-3)
    assert [one.late for one in curve.points] == [1, 1, 1]
    (curve,) = _sweep(curves=[{"name": "sr", "points": [{**point, "value": 75, "low": 2}]}], over="share").curves
    assert (curve.points[0].x, curve.points[0].ends) == (75, (None, None))
    (curve,) = _sweep(curves=[{"name": "sr", "points": [{"mean": 7, "monitor": "last"}, 3]}]).curves
    assert [(one.mean, one.late) for one in curve.points] == [(None, 0)]
