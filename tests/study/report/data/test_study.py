"""A study as the report reads it: any part may be missing or of another kind, and no path leads out of the folder."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import ConfigError
from srcache.images import AS_EVER, Colors
from srcache.study.report.data.study import RESULTS, SCHEMA, Study, inside, read_results

_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(_plain, st.lists(st.sampled_from("abc"), max_size=3), st.sampled_from([dict, list, str, int]))
def test_what_lies_inside_is_of_the_kind_asked_for_or_none(value, keys, kind):
    found = inside(value, kind, *keys)
    assert found is None or isinstance(found, kind)
    place = value
    for key in keys:
        place = place.get(key) if isinstance(place, dict) else None
    assert found == (place if isinstance(place, kind) else None)


@given(_plain)
def test_any_results_have_a_title_a_verdict_and_arms(tmp_path_factory, value):
    root = tmp_path_factory.getbasetemp()
    parts = dict.fromkeys(("name", "verdict", "compare", "images", "complete"), value)
    study = Study(results={**parts, "arms": [value]}, root=root)
    assert study.title == (value if isinstance(value, str) and value else root.name)
    assert isinstance(study.verdict, str)
    assert all(isinstance(arm["name"], str) for arm in study.arms)
    assert all(isinstance(row, dict) for row in study.mappings("images"))
    assert study.complete == (value is True)


def test_the_verdict_of_all_seeds_goes_before_that_of_one(tmp_path):
    one = {"compare": {"verdict": "one seed"}}
    assert Study(results=one, root=tmp_path).verdict == "one seed"
    assert Study(results={**one, "verdict": "all seeds"}, root=tmp_path).verdict == "all seeds"
    assert Study(results={}, root=tmp_path).verdict == ""


def test_ids_have_the_prefix_and_headings_the_depth(tmp_path):
    study = Study(results={}, root=tmp_path, prefix="s2-", depth=2)
    assert study.id("grid") == "s2-grid"
    assert study.heading(1, "<x>", id="i") == '<h3 id="i">&lt;x&gt;</h3>'
    assert study.heading(9, "x") == "<h6>x</h6>"


def test_files_are_those_in_the_folder_and_no_others(tmp_path):
    (tmp_path / "out/inner").mkdir(parents=True)
    for name in ("secret", "out/a", "out/inner/b"):
        (tmp_path / name).touch()
    study = Study(results={}, root=tmp_path / "out")
    assert study.file("a") == tmp_path / "out/a"
    assert study.file("inner/b") == tmp_path / "out/inner/b"
    for path in (
        "../secret",
        "inner/../../secret",
        str(tmp_path / "secret"),
        "inner",
        "none",
        "",
        "a\0",
        3,
        None,
        ["a"],
    ):
        assert study.file(path) is None, path


def test_results_are_read_as_they_were_written(tmp_path):
    (tmp_path / RESULTS).write_text(json.dumps({"schema": SCHEMA, "name": "größe"}))
    assert read_results(tmp_path) == {"schema": "srcache.experiment/1", "name": "größe"}


@pytest.mark.parametrize("text", ["[1]", "{", '{"schema": 3}', "{}"])
def test_what_are_no_results_is_refused_with_the_file(tmp_path, text):
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(ConfigError, match=r"results\.json (cannot be read|must have the schema)"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, AS_EVER),
        ({"color_profile": "srgb", "background": "#204060"}, Colors(profile="srgb", background="#204060")),
        ({"color_profile": "srgb", "background": 7}, Colors(profile="srgb")),
        ({"color_profile": "cmyk"}, AS_EVER),
        (None, AS_EVER),
    ],
)
def test_its_colors_are_those_of_its_degradation(tmp_path, said, found):
    assert Study(results={"config": {"degradation": said}}, root=tmp_path).colors == found
