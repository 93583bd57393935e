"""`--executor`, `--address` and `--actors`: what they mean, and what does not go together."""

import pytest

from srcache.fill.settings import FillReport, RaySettings


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("", None),
        ("--executor local", None),
        ("--executor ray", RaySettings()),
        ("--executor ray --actors 3", RaySettings(least=3, most=3)),
        ("--executor ray --actors 1:8 --address 10.0.0.1:6379", RaySettings(address="10.0.0.1:6379", least=1, most=8)),
        ("--executor ray --actors 2:", RaySettings(least=2, most=None)),
    ],
)
def test_options_reach_the_run(home, srcache, monkeypatch, words, settings):
    seen = []

    def fill(catalog, recipe, cache, settings, progress):
        seen.append(settings.ray)
        return FillReport(folder=cache, recipe="r", wanted=1, stored=1, killed=2)

    monkeypatch.setattr("srcache.fill.fill", fill)
    printed = srcache("build", "one", "--cache", "new", "--recipe", "bicubic", *words.split())
    assert (printed.code, seen) == (0, [settings])
    assert "processes of the cluster, which were started anew" in printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--address 10.0.0.1:6379", "--address: only for a build on Ray; add --executor ray"),
        ("--actors 2 --address x:1", "--address and --actors: only for a build on Ray"),
        ("--executor ray --dry-run", "--dry-run tries a few images on this machine"),
        ("--executor ray --actors 0", "expected a number of actors such as 4"),
        ("--executor ray --actors 3:1", "got '3:1'"),
        ("--executor ray --actors :3", "got ':3'"),
        ("--executor ray --store lmdb", "on Ray (--executor ray) are made by processes side by side, but lmdb"),
    ],
)
def test_what_does_not_go_together_is_refused(home, refuse, words, message):
    refuse(f"build photos --cache new --recipe bicubic {words}", message)
