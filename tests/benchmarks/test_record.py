"""Bars of the benchmarks: when one is met, how it reads, and the rows that are appended to a history."""

import csv

import pytest

from benchmarks.record import COLUMNS, Bar, Provenance, append, bar_of, fresh, interleaved


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({}, True),
        ({"bar": 2.0}, True),
        ({"bar": 1.9}, False),
        ({"least": 2.0}, True),
        ({"least": 2.1}, False),
        ({"bar": 3.0, "least": 2.5}, False),
    ],
)
def test_a_bar_is_met_within_both_limits(limits, met):
    assert Bar(case="a", value=2.0, unit="s", **limits).met is met


def test_a_bar_says_whether_it_is_met_and_how_its_peer_did():
    shown = str(Bar(case="a", value=2.0, unit="s", bar=1.0, least=0.5, spread=0.25, peer="b", peer_value=4.0))
    assert shown == "MISS a: 2 ± 0.25 s (bar at least 0.5, 1); b: 4 s, ratio 0.5"
    assert str(Bar(case="a", value=2.0, unit="s")) == "ok   a: 2 ± 0 s"


def test_repeats_become_their_median_and_half_their_range():
    bar = bar_of("a", [3.0, 1.0, 7.0], "s", 2.0, "b", [5.0, 4.0, 6.0])
    assert (bar.value, bar.spread, bar.peer_value, bar.ratio, bar.met) == (3.0, 3.0, 5.0, 0.6, False)
    assert bar_of("a", [1.0], "s", None).ratio is None


def test_what_is_compared_is_measured_in_turns():
    order = []
    columns = interleaved(2, lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0)
    assert order == ["a", "b", "a", "b"]
    assert columns == [[1.0, 1.0], [2.0, 2.0]]


def test_rows_are_appended_under_one_head(tmp_path):
    place = Provenance(history=tmp_path / "history.csv", commit="abc", machine="a CPU, 2 cores")
    append("start", [Bar(case="a", value=1 / 3, unit="s", bar=0.3)], 5, place)
    before = place.history.read_text()
    append("start", [Bar(case="b", value=2.0, unit="s", peer="c", peer_value=8.0)], 7, place)
    assert place.history.read_text().startswith(before), "rows that were written stay as they are"
    first, second = csv.DictReader(place.history.read_text().splitlines())
    assert tuple(first) == COLUMNS
    assert (first["value"], first["bar"], first["met"], first["repeats"]) == ("0.33333", "0.3", "no", "5")
    assert (first["commit"], first["machine"], first["bench"]) == ("abc", "a CPU, 2 cores", "start")
    assert (second["peer"], second["peer_value"], second["ratio"], second["met"]) == ("c", "8", "0.25", "yes")


def test_a_process_of_its_own_prints_or_fails_in_words():
    assert fresh("import sys; print(sys.argv[1])", "said") == "said\n"
    with pytest.raises(RuntimeError, match=r"a measured process failed:\n[\s\S]*ZeroDivisionError"):
        fresh("1 / 0")
