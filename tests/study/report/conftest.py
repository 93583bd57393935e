"""What the tests of the report share: a study of 36 images and its page, and a small study. Not to be changed."""

import json

import pytest
from report_folder import StudySettings, make_study
from report_page import Page, render


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    make_study(out)
    return out


@pytest.fixture(scope="session")
def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="session")
def html(folder, results):
    return render(results, folder)


@pytest.fixture(scope="session")
def page(html):
    return Page(html)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A study of three tiny images and two seeds: its folder and its results."""
    out = tmp_path_factory.mktemp("small")
    return out, make_study(out, StudySettings(count=3, size=8, seeds=(0, 1), epochs=2))
