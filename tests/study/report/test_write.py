"""Writing a report: where, of how many studies, how large, and what is no experiment."""

import numpy as np
import pytest
from report_folder import StudySettings, make_study
from report_page import (
    Page,
    assert_everything_has_a_name,
    assert_headings_are_in_order,
    assert_ids_and_references_fit,
    data_of,
)

from srcache.errors import ConfigError
from srcache.images import encode
from srcache.study.report import summarise, write_report


def _noise(folder, count, size):
    rng = np.random.default_rng(1)
    paths = []
    for at in range(count):
        paths.append(folder / f"{at}.png")
        paths[-1].write_bytes(encode(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), "png"))
    return paths


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """500 images that hardly compress."""
    out = tmp_path_factory.mktemp("large")
    results = make_study(out, StudySettings(count=500, size=8))
    paths = _noise(out, 25, 64)
    for at, row in enumerate(results["images"]):
        for kind in ("lr", "bicubic", "sr", "hr"):
            path = out / row[kind]
            path.unlink()
            path.hardlink_to(paths[at % 25])
    return out, results


@pytest.mark.medium
def test_500_images_stay_below_15_megabytes(large):
    out, _ = large
    summary = summarise(out, out / "report.html")
    data = data_of(summary.path.read_text(encoding="utf-8"))
    assert len(data["pictures"]) == 500
    assert all(len(one["images"]) == 4 for one in data["pictures"])
    assert 5_000_000 < summary.bytes < 15_000_000


def test_write_report_writes_beside_the_results(tmp_path):
    make_study(tmp_path, StudySettings(count=3, size=8))
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert write_report(tmp_path, tmp_path / "deep/er/page.html").read_bytes() == path.read_bytes()


@pytest.mark.medium
def test_several_studies_share_a_page(small, tmp_path):
    folder, _ = small
    make_study(tmp_path / "b", StudySettings(count=6, size=16, classes=("x", "y")))
    summary = summarise([folder, tmp_path / "b"], tmp_path / "both.html")
    html = summary.path.read_text(encoding="utf-8")
    page = Page(html)
    assert_headings_are_in_order(page)
    assert_ids_and_references_fit(page)
    assert_everything_has_a_name(page)
    assert len(page.all("article")) == len(summary.studies) == 2
    assert [len(data_of(html, f"s{at}-pictures")["pictures"]) for at in (1, 2)] == [3, 6]


def test_what_is_no_experiment_is_said(small, tmp_path):
    folder, _ = small
    with pytest.raises(ConfigError, match="is no folder"):
        write_report(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"holds no results\.json.*srcache experiment CONFIG"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": "srcache.quickstart/1"}')
    with pytest.raises(ConfigError, match=r"schema 'srcache\.experiment/1', but has 'srcache\.quickstart/1'"):
        write_report(tmp_path)
    for text_ in ("[1]", "{", "\xff", "[" * 100_000):
        (tmp_path / "results.json").write_bytes(text_.encode("latin-1"))
        with pytest.raises(ConfigError, match=r"results\.json"):
            write_report(tmp_path)
    with pytest.raises(ConfigError, match="say where: --out FILE"):
        write_report([folder, folder])
    with pytest.raises(ConfigError, match="is a folder; --out must name a file"):
        write_report(folder, tmp_path)
    with pytest.raises(ConfigError, match="but got none"):
        write_report([])
