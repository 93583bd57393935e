"""Tables of two classifiers on the same images: a known case, strategies for any, and the classifiers swapped."""

from hypothesis import strategies as st

from srcache.study.statistics.paired import Table


def table_of_counts(both, first, second, neither):
    """A table by its four counts."""
    return Table(both_right=both, first_only=first, second_only=second, both_wrong=neither)


def mirrored(one):
    """The same with the second classifier as the first."""
    return table_of_counts(one.both_right, one.second_only, one.first_only, one.both_wrong)


GOLDEN = {
    "LR-HR": (table_of_counts(237, 29, 21, 44), 0.3222363203575469, 0.26244, 0.32220, 0.25790),
    "LR-SR": (table_of_counts(244, 22, 29, 36), 0.4010619910279374, 0.33175, 0.40081, 0.32699),
    "HR-SR": (table_of_counts(245, 13, 28, 45), 0.027533155829587486, 0.01952, 0.02878, 0.01915),
}
"""Three classifiers on 331 images: table, then p of exact, mid-p, chi2 with and without correction."""

small_counts = st.integers(0, 60)
tables = st.builds(table_of_counts, small_counts, small_counts, small_counts, small_counts.map(lambda count: count + 1))
unequal = tables.filter(lambda one: one.first_only != one.second_only)
