"""The side table of measurements: written and read the same, refused where it is not what was written, and packed."""

import json
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache import files
from srcache.dataset.policy import COLUMNS, parse_filter
from srcache.dataset.scores import (
    ABOUT,
    HEADER,
    SCHEMA,
    TABLE,
    LabelScore,
    ScoreFilter,
    begin_scores,
    filter_effect,
    open_score_filter,
    read_scores,
    write_scores,
)
from srcache.errors import DamagedError, PolicyError
from srcache.keys import entry_name, image_key

KEYS = [image_key(str(number).encode()) for number in range(60)]
WITH = {"version": 1, "classifier": {"digest": "abc", "classes": ["a", "b"]}}
WITHOUT = {"version": 1, "classifier": None}


def score(number: int, sample: int = 0, **values) -> LabelScore:
    return LabelScore(
        **{
            "image": f"moss/{number}",
            "key": KEYS[number],
            "sample": sample,
            "safe": 0.25,
            "back_projection": 30.0,
            "back_projection_error": 2.5,
            **values,
        }
    )


def shares(least, most):
    return st.integers(int(least * 10**6), int(most * 10**6)).map(lambda millionths: millionths / 10**6)


PRINTABLE = st.just(" ") | st.characters(exclude_categories=("C", "Z"))
LABELS = st.none() | st.text(PRINTABLE, min_size=1, max_size=6)
ROWS = st.builds(
    LabelScore,
    image=st.sampled_from(["a", "größe 1/v1.2", "<b>&/x", '"quoted", it is', "two\nlines", "=1+1"]),
    key=st.sampled_from(KEYS),
    sample=st.integers(0, 999),
    safe=shares(0, 1),
    back_projection=shares(0, 90) | st.just(math.inf),
    back_projection_error=shares(0, 255),
    agree=shares(0, 1) | st.just(math.nan),
    feature_distance=shares(0, 2) | st.just(math.nan),
    lr_label=LABELS,
    sr_label=LABELS,
    hr_label=LABELS,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "recipe"
    begin_scores(folder, WITH, {"versions": {"python": "3"}})
    return folder


def cells(row: LabelScore) -> list[str]:
    return [str(getattr(row, name)) for name in ("name", *HEADER[1:])]


@pytest.mark.medium
@given(st.lists(ROWS, unique_by=lambda row: row.name, max_size=8))
def test_rows_are_read_as_they_were_written(home, rows):
    write_scores(home, rows)
    table = read_scores(home)
    expected = sorted(rows, key=lambda row: (row.image, row.key, row.sample))
    assert [cells(row) for row in table.rows] == [cells(row) for row in expected]
    assert table.convention == WITH
    assert table.about["versions"] == {"python": "3"}
    assert table.path == home / TABLE


def test_the_file_is_plain_and_frozen(tmp_path):
    begin_scores(tmp_path, WITH, {})
    rows = [
        score(1, 2, image="b/c", back_projection=math.inf, back_projection_error=0.0, safe=0.98765432, agree=0.5),
        score(0, image="a, b", lr_label="x", sr_label="y"),
    ]
    write_scores(tmp_path, rows)
    assert (tmp_path / TABLE).read_text().splitlines() == [
        "name,image,key,sample,safe,agree,feature_distance,back_projection,back_projection_error,"
        "lr_label,sr_label,hr_label",
        f'{KEYS[0]}-000,"a, b",{KEYS[0]},0,0.250000,,,30.000000,2.500000,x,y,',
        f"{KEYS[1]}-002,b/c,{KEYS[1]},2,0.987654,0.500000,,inf,0.000000,,,",
    ], "other people's programs read this table"
    assert json.loads((tmp_path / ABOUT).read_text()) == {"schema": SCHEMA, "convention": WITH}


def test_where_nothing_was_measured_there_is_no_table(tmp_path):
    assert read_scores(tmp_path) is None
    begin_scores(tmp_path, WITHOUT, {})
    assert read_scores(tmp_path) is None


def test_a_new_convention_never_stands_beside_old_rows(tmp_path, monkeypatch):
    begin_scores(tmp_path, WITHOUT, {})
    write_scores(tmp_path, [score(0)])

    def power_fails(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", power_fails)
        with pytest.raises(KeyboardInterrupt):
            begin_scores(tmp_path, WITH, {})
    assert read_scores(tmp_path) is None
    assert json.loads((tmp_path / ABOUT).read_text())["convention"] == WITHOUT
    begin_scores(tmp_path, WITH, {})
    write_scores(tmp_path, [score(0)])
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", power_fails)
        with pytest.raises(KeyboardInterrupt):
            write_scores(tmp_path, [score(0), score(1)])
    assert len(read_scores(tmp_path).rows) == 1


GOOD = f"{KEYS[0]}-000,a,{KEYS[0]},0,0.25,0.5,1.5,30,2.5,x,y,"
DAMAGE = {
    "another table": ("path,label\na,b\n", "its columns are not name,image,key"),
    "nothing": ("", "its columns are not"),
    "a row cut short": (f"{GOOD}\n{GOOD[:60]}", "line 3: expected 12 cells"),
    "a row twice": (f"{GOOD}\n{GOOD}\n", "line 3: .*-000 has a row already"),
    "a name that is none": (GOOD.replace("-000", "-0", 1), "line 2: expected an entry's name"),
    "another key": (GOOD.replace(f",{KEYS[0]},", f",{KEYS[1]},"), "is not key"),
    "another sample": (GOOD.replace(",0,0.25", ",1,0.25"), "sample 1"),
    "no safe": (GOOD.replace("0.25", ""), "line 2: could not convert"),
    "safe beyond 1": (GOOD.replace("0.25", "1.25"), "safe must lie from 0 to 1, but is 1.25"),
    "safe undefined": (GOOD.replace("0.25", "nan"), "safe must lie from 0 to 1, but is nan"),
    "distance beyond 2": (GOOD.replace("1.5", "2.5"), "feature_distance must lie from 0 to 2"),
    "words": (GOOD.replace("30", "many"), "could not convert"),
    "negative": (GOOD.replace("30", "-3"), "back_projection must lie from 0 to inf"),
    "an open quote": (GOOD.replace(",a,", ',"a,'), "unexpected end of data"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_table_that_is_not_what_was_written_is_refused(tmp_path, case):
    text, words = DAMAGE[case]
    begin_scores(tmp_path, WITH, {})
    head = "" if case in ("another table", "nothing") else ",".join(HEADER) + "\n"
    (tmp_path / TABLE).write_text(head + text)
    for read in (read_scores, lambda home: open_score_filter(home, [parse_filter("safe>0.5")])):
        with pytest.raises(DamagedError, match=rf"(?s)safety.csv is not the table .*{words}.*safety --again"):
            read(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    begin_scores(tmp_path, WITH, {})
    (tmp_path / TABLE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedError, match=r"safety.csv is not the table that was written: 'utf-8'"):
        read_scores(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: .*No such file"),
        ("{", "cannot be read"),
        ("[]", "does not say how"),
        ('{"schema": "srcache.safety-table/1"}', "does not say how"),
        ('{"schema": "srcache.safety-table/9", "convention": {}}', "has the schema 'srcache.safety-table/9'"),
    ],
)
def test_a_table_that_does_not_say_how_it_was_measured_is_refused(tmp_path, text, words):
    write_scores(tmp_path, [score(0)])
    if text is not None:
        (tmp_path / ABOUT).write_text(text)
    for read in (read_scores, lambda home: open_score_filter(home, [parse_filter("agree>0.5")])):
        with pytest.raises(DamagedError, match=rf"safety.json .*{words}.*--again"):
            read(tmp_path)


# --- what a filter removes ---


def test_what_a_filter_removes(tmp_path):
    rows = [score(0, safe=0.95), score(1, safe=0.9), score(2, 0, safe=0.91), score(2, 3, safe=0.1)]
    begin_scores(tmp_path, WITHOUT, {})
    write_scores(tmp_path, rows)
    for source in (read_scores(tmp_path), rows):
        found = filter_effect(source, "safe > 0.90")
        assert (found.filter, found.kept, found.removed, found.names) == ("safe>0.9", 2, 2, ("moss/1", "moss/2#3"))
        assert filter_effect(source, parse_filter("safe>=0.9&back_projection>=30")).removed == 1
        assert filter_effect(source, "agree>0").kept == 0, "what was not measured passes nothing"
    with pytest.raises(PolicyError, match="danger"):
        filter_effect(rows, "danger>1")


# --- score filters ---


@pytest.mark.medium
@given(st.lists(ROWS, unique_by=lambda row: row.name, max_size=12), st.randoms(use_true_random=False))
def test_a_score_filter_says_what_the_rows_say(rows, rng):
    texts = ["safe>0.5", "agree>=0.25&safe<0.9", "feature_distance<1", "back_projection>40", "back_projection_error<9"]
    filters = [parse_filter(text) for text in texts]
    rng.shuffle(rows)
    opened = ScoreFilter(Path("t"), "", filters, rows)
    for twin in (opened, pickle.loads(pickle.dumps(opened))):
        for key in KEYS:
            mine = [row for row in rows if row.key == key]
            assert twin.knows(key) == bool(mine)
            for conditions in filters:
                assert twin.passing(key, conditions) == sorted(row.sample for row in mine if row.passes(conditions))


def test_a_score_filter_is_packed(tmp_path):
    begin_scores(tmp_path, WITHOUT, {})
    many = [
        score(0, image=f"a/{number}", key=image_key(f"{number}".encode()), safe=number / 2000) for number in range(2000)
    ]
    write_scores(tmp_path, many)
    opened = open_score_filter(tmp_path, [parse_filter("safe>0.5"), parse_filter("safe>0.9")])
    assert len(pickle.dumps(opened)) < 2000 * (18 + 2) + 2000, "18 bytes a row and one for each filter"
    assert sum(bool(opened.passing(row.key, parse_filter("safe>0.9"))) for row in many) == 199
    assert opened.digest == image_key((tmp_path / TABLE).read_bytes())


def test_a_score_filter_refuses_what_was_not_measured(tmp_path):
    with pytest.raises(PolicyError, match=r"filters by agree>0.5, safe>0.9, but nothing was measured .*run `srcache s"):
        open_score_filter(tmp_path, [parse_filter("agree>0.5"), parse_filter("safe>0.9")])
    begin_scores(tmp_path, WITHOUT, {})
    write_scores(tmp_path, [score(0)])
    assert open_score_filter(tmp_path, [parse_filter("safe>0.1"), parse_filter("back_projection>20")]).knows(KEYS[0])
    with pytest.raises(PolicyError, match=r"without a classifier, so it has no agree and no feature_distance; run"):
        open_score_filter(tmp_path, [parse_filter("agree>0.5&feature_distance<1")])


def test_every_number_has_a_column():
    assert set(COLUMNS) < set(HEADER)
    assert score(3, 7).name == entry_name(KEYS[3], 7)
