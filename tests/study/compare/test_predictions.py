"""Predictions travel as CSV without loss; mistakes are reported with their line; rows join by name, never by order."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import CatalogError
from srcache.study.compare.predictions import PredictionRow, Predictions, join, read_predictions, write_predictions

ODD = ("<script>alert(1)</script>", 'said "no", twice', "größe 猫", " space ", "two\nlines\r", "$x^2$", "0", "p_p")


def _text(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def _row(name, label="a", prediction="a", probabilities=None):
    return PredictionRow(name, "", label, prediction, probabilities)


def _set(*rows, classes=("a", "b")):
    return Predictions(classes, rows)


# Files

_words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@st.composite
def _predictions(draw):
    classes = tuple(draw(st.lists(_words | st.sampled_from(ODD), min_size=1, max_size=4, unique=True)))
    names = draw(st.lists(_words, min_size=1, max_size=5, unique=True))
    weights = st.lists(st.floats(0, 1), min_size=len(classes), max_size=len(classes)).filter(lambda w: sum(w) > 1e-6)
    shares = weights.map(lambda values: tuple(value / sum(values) for value in values))
    return Predictions(
        classes,
        tuple(
            PredictionRow(
                name,
                draw(st.sampled_from(["", "0123abcd"])),
                draw(st.none() | st.sampled_from(classes)),
                draw(st.sampled_from(classes)),
                draw(st.none() | shares),
            )
            for name in names
        ),
    )


@pytest.mark.medium
@given(predictions=_predictions())
def test_what_is_written_is_read_again_to_the_last_digit(tmp_path_factory, predictions):
    path = tmp_path_factory.mktemp("csv") / "new/p.csv"
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions


def test_a_file_is_what_the_contract_says(tmp_path):
    write_predictions(tmp_path / "p.csv", _set(_row("x/1", None, "b"), _row("x/2", "a", "a", (0.75, 0.25))))
    assert (tmp_path / "p.csv").read_text() == "name,key,label,prediction,p_a,p_b\nx/1,,,b,,\nx/2,,a,a,0.75,0.25\n"


def test_files_of_other_programs_are_read(tmp_path):
    excel = '\ufeffprediction, Name ,LABEL\r\n"b",x/1,a\r\n\r\na,"x,2",\r\n'
    found = read_predictions(_text(tmp_path / "p.csv", excel))
    assert found == _set(_row("x/1", "a", "b"), _row("x,2", None, "a"))


def test_classes_are_those_of_the_columns_in_their_order_or_those_that_occur(tmp_path):
    with_columns = _text(tmp_path / "p.csv", "name,prediction,p_z,p_a\nx,a,0.2,0.8\n")
    assert read_predictions(with_columns).classes == ("z", "a")
    without = _text(tmp_path / "q.csv", "name,label,prediction\nx,z,a\n")
    assert read_predictions(without).classes == ("a", "z")


HEAD = "name,key,label,prediction,p_a,p_b\n"
MISTAKES = {
    "": "there is no column name; the columns are none",
    "name;label;prediction\nx;a;a\n": "is not separated by commas",
    "name\tprediction\nx\ta\n": "is not separated by commas",
    "name,label\nx,a\n": "there is no column prediction; the columns are name, label",
    "name,prediction,probability\nx,a,1\n": "unknown columns probability; known are name, key, label, prediction",
    "name,name,prediction\nx,x,a\n": "the column name is there 2 times",
    "name,prediction,p_a,p_a\nx,a,1,1\n": "the column p_a is there 2 times",
    "name,prediction,p_\nx,a,1\n": "a class needs a name",
    HEAD: "holds no predictions",
    HEAD + "x,,a,a,1\n": "line 2: expected 6 cells, but got 5",
    HEAD + "x,,a,a,1,0\nx,,a,b,0,1\n": "line 3: x is there twice",
    HEAD + ",,a,a,1,0\n": "line 2: an image needs a name",
    HEAD + "x,,c,a,1,0\n": "x: the label 'c' is none of the classes 'a', 'b'",
    HEAD + "x,,a,c,1,0\n": "x: the prediction 'c' is none of the classes",
    HEAD + "x,,a,,1,0\n": "x: the prediction '' is none of the classes",
    HEAD + "x,,a,a,1,\n": "line 2: expected 2 probabilities, or none, but got '1', ''",
    HEAD + "x,,a,a,often,0\n": "expected 2 probabilities, or none, but got 'often', '0'",
    HEAD + "x,,a,a,nan,0\n": "x: expected probabilities between 0 and 1, but got nan, 0.0",
    HEAD + "x,,a,a,inf,0\n": "between 0 and 1, but got inf",
    HEAD + "x,,a,a,1.5,-0.5\n": "between 0 and 1, but got 1.5, -0.5",
    HEAD + "x,,a,a,0.9,0.2\n": "that sum to 1 (within 0.001), but they sum to 1.1",
    HEAD + '"x,,a,a,1,0\n': "cannot be read as CSV in UTF-8: unexpected end of data",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_reported_with_its_line(tmp_path, text):
    with pytest.raises(CatalogError) as caught:
        read_predictions(_text(tmp_path / "p.csv", text))
    assert MISTAKES[text] in str(caught.value)
    assert str(tmp_path / "p.csv") in str(caught.value)


def test_every_mistake_is_reported_at_once_and_long_lists_are_cut(tmp_path):
    with pytest.raises(CatalogError) as caught:
        read_predictions(_text(tmp_path / "p.csv", HEAD + "x,,c,a,1,0\ny,,a,a\n,,a,a,0.5,0.1\n" + "z,,a,a,2,0\n" * 40))
    text = str(caught.value)
    assert all(f"line {number}:" in text for number in (2, 3, 4))
    assert text.splitlines()[-1] == "  - … and 63 more"
    assert len(text.splitlines()) == 22


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(CatalogError, match="cannot be read as CSV in UTF-8"):
        read_predictions(_text(tmp_path / "p.csv", "name,prediction\nä,a\n", "latin-1"))
    with pytest.raises(CatalogError, match="No such file"):
        read_predictions(tmp_path / "missing.csv")
    with pytest.raises(CatalogError, match="Is a directory"):
        read_predictions(tmp_path)


def test_rounded_probabilities_are_within_the_tolerance(tmp_path):
    assert read_predictions(_text(tmp_path / "p.csv", HEAD + "x,,a,a,0.333,0.6665\n")).rows[0].probabilities


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _set(_row("x"), _row("x")), "row 2: x is there twice"),
        (lambda: _set(_row("x", "c")), "the label 'c' is none of the classes"),
        (lambda: _set(_row("x", probabilities=(1.0,))), "expected 2 probabilities, but got 1"),
        (lambda: _set(classes=("a", "a")), "the class 'a' is there 2 times"),
        (lambda: _set(classes=("",)), "a class needs a name"),
        (lambda: _set(_row("\udcff")), "an image needs a name"),
    ],
)
def test_values_are_checked_at_birth(make, message):
    with pytest.raises(CatalogError, match=message):
        make()


# Joining


def test_rows_join_by_name_whatever_their_order():
    joined = join({"A": _set(_row("x"), _row("y", "b")), "B": _set(_row("y", "b", "b"), _row("x", prediction="b"))})
    assert joined.names == ("x", "y")
    assert joined.labels == ("a", "b")
    assert joined.right("A") == (True, False)
    assert joined.right("B") == (False, True)
    assert [row.name for row in joined.classifiers["B"].rows] == ["x", "y"]


@given(st.permutations(range(6)))
def test_a_join_does_not_depend_on_the_order_of_rows(order):
    rows = [_row(f"n{place}", "ab"[place % 2]) for place in range(6)]
    assert join({"A": _set(*rows)}) == join({"A": _set(*(rows[place] for place in order))})


def test_lost_rows_are_listed_for_every_classifier():
    with pytest.raises(CatalogError) as caught:
        join({"A": _set(_row("x"), _row("y")), "B": _set(_row("y"), _row("z")), "C": _set(*map(_row, "xyz"))})
    assert "A lacks 1 of 3 images: z" in str(caught.value)
    assert "B lacks 1 of 3 images: x" in str(caught.value)
    assert "C lacks" not in str(caught.value)


def test_suffixes_are_recognised_as_the_reason_of_lost_rows():
    with pytest.raises(CatalogError, match="agree without their suffixes"):
        join({"A": _set(_row("x/1.png")), "B": _set(_row("x/1.jpg"))})
    with pytest.raises(CatalogError, match=r"images: x/2$"):
        join({"A": _set(_row("x/1"), _row("x/2")), "B": _set(_row("x/1"))})


def test_differing_and_half_missing_labels_are_listed():
    with pytest.raises(CatalogError) as caught:
        join({"A": _set(_row("x"), _row("y"), _row("z")), "B": _set(_row("x", "b"), _row("y", None), _row("z"))})
    assert "x: A 'a', B 'b'" in str(caught.value)
    assert "y: A 'a', B None" in str(caught.value)
    assert "z:" not in str(caught.value)


def test_an_unlabelled_image_is_right_for_nobody():
    joined = join({"A": _set(_row("x", None))})
    assert (joined.labels, joined.right("A")) == ((None,), (False,))


def test_classes_of_all_are_in_the_order_of_one_that_knows_them_all():
    def only(*classes):
        return _set(_row("x", classes[0], classes[0]), classes=classes)

    assert join({"A": only("z"), "B": only("z", "a")}).classes == ("z", "a")
    assert join({"A": only("z", "c"), "B": only("z", "a")}).classes == ("a", "c", "z")


def test_names_in_another_unicode_form_join():
    one, two = (unicodedata.normalize(form, "café/größe") for form in ("NFC", "NFD"))
    rows = {title: PredictionRow(name, "", "cat", "cat") for title, name in (("a", one), ("b", two))}
    joined = join({title: Predictions(("cat", "dog"), (row,)) for title, row in rows.items()})
    assert joined.names == (one,), "as the first file has it"
    assert joined.classifiers["b"].rows[0].name == two
    both = Predictions(("cat", "dog"), tuple(rows.values()))
    with pytest.raises(CatalogError, match=r"Unicode form of a letter alone cannot be joined:\n  - a"):
        join({"a": both})


def test_nothing_cannot_be_joined():
    for many in ({}, {"A": _set()}):
        with pytest.raises(CatalogError, match="no predictions to join"):
            join(many)
