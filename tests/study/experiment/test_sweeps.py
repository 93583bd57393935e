"""Sweeps: which arms their points are, and which are refused, all mistakes at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import tiny

from srcache.errors import ConfigError
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.sweeps import curves, require_images, second_kind, trained_arms

ARMS = [
    {"name": "enlarged", "arm": "lr", "domain": "bicubic"},
    {"name": "mix", "arm": "lr=1,sr=1", "domain": "sr"},
    {"name": "patch", "arm": "patch(lr,sr)", "domain": "sr"},
    {"name": "sr", "arm": "sr"},
]


def made(**sweep: Any) -> Experiment:
    """An experiment with one sweep, `s`."""
    return tiny(Path("images"), arms=ARMS, sweep={"s": sweep})


def test_a_share_is_a_policy_and_what_is_an_arm_already_is_that_arm() -> None:
    experiment = made(over="share", values=[0, 12.5, 50, 100], arms=["mix"], domains=["bicubic", "sr"])
    on_bicubic, on_sr = curves(experiment)["s"]
    assert [(value, point.name, point.arm) for value, point in on_sr.points] == [
        (0, "enlarged", "lr"),
        (12.5, "mix@s-12.5", "lr=0.875,sr=0.125"),
        (50, "mix", "lr=1,sr=1"),
        (100, "sr", "sr"),
    ]
    assert (on_bicubic.points, on_bicubic.domain, on_sr.domain) == (on_sr.points, "bicubic", "sr")
    assert [arm.name for arm in trained_arms(experiment)] == ["enlarged", "mix", "patch", "sr", "mix@s-12.5"]


def test_an_arm_that_is_trained_otherwise_is_no_point() -> None:
    other = [*ARMS[1:3], {"name": "sr", "arm": "sr", "size": 32}]
    (curve,) = curves(_shares(other))["s"]
    assert [point.name for _, point in curve.points] == ["mix", "mix@s-100"]
    assert curve.points[1][1].settings.size == 16


def _shares(arms: list[dict[str, Any]]) -> Experiment:
    return tiny(Path("images"), arms=arms, sweep={"s": {"over": "share", "values": [50, 100], "arms": ["mix"]}})


@pytest.mark.parametrize(
    ("arm", "kind"),
    [
        ("lr=0.5,sr=0.5", "sr"),
        ("lr=1,patch(lr,sr,grid=8)=1", "patch(lr,sr,grid=8)"),
        ("hr=3,sr#2[safe>=0.5]=1", "sr#2[safe>=0.5]"),
    ],
)
def test_the_second_kind_is_named_as_it_is_written(arm: str, kind: str) -> None:
    assert second_kind(arm) == kind
    arms = [{"name": "mix", "arm": arm, "domain": "sr"}]
    (curve,) = curves(_shares(arms))["s"]
    assert curve.points[1][1].arm == kind


def test_images_per_class_with_epochs_and_an_arm_beside() -> None:
    experiment = made(
        over="per_class", values=[2, 4, "all"], arms=["mix", "sr"], epochs=[8, 4, 2], beside={"patch": "all"}
    )
    mix, sr, patch = curves(experiment)["s"]
    assert [(value, one.per_class, one.settings.epochs) for value, one in mix.points] == [
        *((2, 2, 8), (4, 4, 4), ("all", None, 2))
    ]
    assert sr.points[2][1] is experiment.arms[3], "two epochs are the arm's own"
    assert [(value, one.name) for value, one in patch.points] == [("all", "patch")]
    assert len({arm.name for arm in trained_arms(experiment)}) == len(trained_arms(experiment)) == 4 + 4


def test_two_sweeps_share_what_is_the_same() -> None:
    few = {"over": "per_class", "values": [2, "all"], "arms": ["sr"]}
    experiment = tiny(Path("images"), arms=ARMS, sweep={"a": few, "b": {**few, "values": [2, 4]}})
    assert [arm.name for arm in trained_arms(experiment)][4:] == ["sr@a-2", "sr@b-4"]


def test_an_experiment_with_sweeps_reads_back_the_same() -> None:
    arms = [*ARMS, {"name": "few", "arm": "sr", "per_class": 3}]
    experiment = tiny(
        Path("images"),
        arms=arms,
        sweep={"s": {"over": "per_class", "values": [2, 3], "arms": ["sr"], "beside": {"patch": 2}}},
    )
    again = tiny(Path("images"), **{key: experiment.plain()[key] for key in ("arms", "sweep")})
    assert again == experiment
    assert curves(experiment)["s"][0].points[1][1].name == "few"


def test_all_mistakes_are_reported_at_once() -> None:
    sweep: dict[str, Any] = {
        "a b": {"over": "x"},
        "s": {"over": "share", "values": [50, 20, 20, 120], "arms": ["nix", "sr", "sr"], "domains": ["q"], "z": 1},
        "t": {"over": "share", "values": [0, 50], "arms": ["sr", "mix"], "epochs": [1], "beside": {"mix": 3}},
        "p": {"over": "per_class", "values": ["all", 4, 0, True], "arms": "sr"},
        "P": 3,
        "o": {"over": "per_class", "values": [4], "arms": ["sr"], "beside": [1]},
        "m": {"over": "per_class", "values": [4, 5], "arms": ["sr", "mix"], "domains": ["lr", "sr", "hr", "bicubic"]},
    }
    with pytest.raises(ConfigError) as caught:
        tiny(Path("images"), arms=ARMS, sweep=sweep)
    said = str(caught.value)
    for words in (
        "sweep.a b.over must be one of share, per_class, but is 'x'",
        "a sweep needs a name of letters and digits, but one is called 'a b'",
        "two sweeps are called p",
        "there is no sweep.s.z",
        "sweep.s.values: each must be per cent from 0 to 100, but one is 120",
        "sweep.s.values: 20 is there more than once",
        "sweep.s.values must rise",
        "sweep.s.arms: there is no nix",
        "sweep.s.arms: sr is there more than once",
        "sweep.s.domains: there is no q",
        "sweep.t.arms: sr: a share is one of a mixture of two, such as lr=0.5,sr=0.5, but the arm is sr",
        "sweep.t.beside.mix must be one of the values 0, 50, but is 3",
        "sweep.t.beside: mix has a curve already",
        "sweep.t.epochs must be 2 integers",
        "sweep.p.values: each must be an integer of at least 1, or, at the end, all, but one is 'all'",
        "but one is True",
        "sweep.p.arms must be a list of names",
        "sweep.P must be a mapping",
        "sweep.o.values must be a list of two or more, such as [4, 16, 64, all], but is [4]",
        "sweep.m has 8 curves (arms × domains), but a plot shows 6 at most",
    ):
        assert words in said
    with pytest.raises(ConfigError, match=r"sweep must be a mapping of names"):
        tiny(Path("images"), sweep=[1])
    with pytest.raises(ConfigError, match=r"arms.few.per_class must be an integer of at least 1"):
        tiny(Path("images"), arms=[{"name": "few", "arm": "sr", "per_class": 0}])


def test_too_few_images_are_refused_with_their_classes() -> None:
    experiment = tiny(
        Path("images"),
        arms=[*ARMS, {"name": "few", "arm": "sr", "per_class": 9}],
        sweep={"s": {"over": "per_class", "values": [4, 8, "all"], "arms": ["sr"]}},
    )
    with pytest.raises(ConfigError) as caught:
        require_images(experiment, {"across": 8, "down": 7})
    assert "sweep.s: 8 training images of each class, but down has 7" in str(caught.value)
    assert "arms.few: 9 training images of each class, but across has 8, down has 7" in str(caught.value)
    with pytest.raises(ConfigError, match=r"sweep.s: 8 of each class is all; leave one out"):
        require_images(replace(experiment, arms=experiment.arms[:4]), {"across": 8, "down": 8})
    require_images(experiment, {"across": 90, "down": 70})
