"""Verdicts: one sentence that claims no more than the tests do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import answers, compare_all, golden_predictions, pair_of

from srcache.study.compare.verdict import Contest, verdict_sentence
from srcache.study.statistics.intervals import Test
from srcache.study.statistics.paired import Table

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

VERDICTS = {
    (4, 4): "The difference between A and B is not significant at 0.05: A alone is right on 4 of 13 images and B "
    "alone on 4 (mid-p 1.0000).",
    (0, 0): "A and B are right on the same 3 of 5 images: there is nothing to test.",
    (9, 1): "A is right more often than B, and the difference is significant at 0.05: A alone is right on 9 of 15 "
    "images and B alone on 1 (mid-p 0.0117).",
    (0, 20): "B is right more often than A, and the difference is significant at 0.05: B alone is right on 20 of 25 "
    "images and A alone on 0 (mid-p < 0.0001).",
}


@pytest.mark.parametrize("counts", VERDICTS)
def test_the_verdict_on_two(counts):
    found = compare_all(pair_of(*counts))
    assert found.verdict == found.pairs[0].verdict == VERDICTS[counts]
    assert found.cochran is None


def test_the_verdict_on_one_and_on_equals():
    one = pair_of(1, 0)["A"]
    assert compare_all({"A": one}).verdict == (
        "A is right on 4 of 6 images (accuracy 0.667, 95 % interval 0.300 to 0.903); there is nothing to compare it "
        "with."
    )
    equal = compare_all({"A": one, "B": one, "C": one})
    assert equal.verdict == "A, B and C are right on the same 4 of 6 images: there is nothing to test."
    assert equal.cochran.p is None
    assert equal.cochran.reason


def test_many_findings_are_listed_briefly():
    arms = {f"arm{place}": answers([1] * (8 * place) + [0] * (48 - 8 * place)) for place in range(6)}
    text = compare_all(arms).verdict
    assert text.startswith("15 of 15 pairs differ significantly at 0.05 after Holm's correction for 15 pairs (Cochran")
    assert text.endswith("; 11 more.")
    assert text.count("right more often than") == 4


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_says_significant_only_if_it_is(b, c, p, adjusted):
    contest = Contest(
        first="A",
        second="B",
        table=Table(both_right=1, first_only=b, second_only=c, both_wrong=1),
        test="mid-p",
        p=p,
        adjusted=adjusted,
        correction="holm",
        alpha=0.05,
    )
    text = verdict_sentence([contest])
    if b + c:
        assert ("is not significant" in text) == (adjusted > 0.05)
    several = verdict_sentence([contest, replace(contest, second="C")])
    assert ("No difference" in several or "nothing to test" in several) == (adjusted > 0.05 or b + c == 0)


def test_the_golden_verdict_is_honest(golden):
    assert golden.verdict == (
        "No difference among LR, HR and SR is significant at 0.05 after Holm's correction for 3 pairs "
        "(Cochran's Q 4.76, p 0.0925); the nearest is SR against HR, where SR alone is right on 28 of 331 images and "
        "HR alone on 13 (mid-p 0.0195, after Holm 0.0586)."
    )
    assert golden.pairs[2].verdict == (
        "The difference between HR and SR is not significant at 0.05: SR alone is right on 28 of 331 images and HR "
        "alone on 13 (mid-p 0.0195, after Holm 0.0586)."
    )


def test_without_correction_the_golden_verdict_says_so():
    found = compare_all(golden_predictions(), correction="none")
    assert found.pairs[2].significant
    assert found.verdict.startswith("1 of 3 pairs differs significantly at 0.05 without correction for 3 pairs")
    why = "SR alone is right on 28 of 331 images and HR alone on 13; mid-p 0.0195"
    assert found.verdict.endswith(f": SR is right more often than HR ({why}).")


def test_a_p_value_beside_alpha_shows_on_which_side_it_lies():
    table = Table(both_right=1, first_only=9, second_only=1, both_wrong=1)
    words = {
        "first": "A",
        "second": "B",
        "table": table,
        "test": "mid-p",
        "p": 0.01,
        "correction": "holm",
        "alpha": 0.05,
    }
    above = Contest(adjusted=0.050004, **words)
    assert not above.significant
    assert "(mid-p 0.0100, after Holm 0.05000400)" in verdict_sentence([above])
    assert "(Cochran's Q 6.00, p 0.05000400)" in verdict_sentence([above, above], Test(statistic=6.0, p=0.050004, df=2))
