"""What README says about loaders comes from the newest rows of a history; the plot too."""

import pytest
from PIL import Image

from benchmarks.loader_table import newest, write_table
from benchmarks.record import Bar, Provenance, append

FFCV, OURS = "224², jpeg: FFCV", "224², jpeg: SRLoader"


@pytest.fixture
def history(tmp_path):
    provenance = Provenance(history=tmp_path / "history.csv", commit="abc", machine="a machine")
    append("loaders", [Bar(case=OURS, value=1.0, unit="images/s"), Bar(case="old", value=1.0, unit="s")], 5, provenance)
    bars = [
        Bar(case=FFCV, value=6666.4, unit="images/s", spread=120.0),
        Bar(case="512², jpeg: FFCV", value=1329.0, unit="images/s"),
        Bar(case=OURS, value=7000.0, unit="images/s", spread=50.0),
        Bar(case="224², raw: FFCV", value=50300.0, unit="images/s"),
        Bar(case="224², jpeg: SRLoader, times FFCV or SPDL", value=1.05, unit="×", least=1.0, spread=0.02, peer="FFCV"),
        Bar(case="224², raw: SRLoader, times the limit", value=0.9, unit="×"),
    ]
    append("loaders", bars, 5, provenance)
    append("fill", [Bar(case=FFCV, value=1.0, unit="images/s")], 5, provenance)
    return provenance.history


def test_the_newest_row_of_each_case_counts(history):
    found = {row["case"]: float(row["value"]) for row in newest(history)}
    assert len(found) == 6
    assert (found[FFCV], found[OURS]) == (6666.4, 7000.0)


def test_the_table_takes_the_place_between_its_marks(history, tmp_path):
    readme, plot = tmp_path / "README.md", tmp_path / "loaders.png"
    readme.write_text("before\n<!-- loaders: begin, written by bench_loaders -->\nold\n<!-- loaders: end -->\nafter\n")
    write_table(history, readme, plot)
    text = readme.read_text()
    assert text.startswith("before\n<!-- loaders: begin")
    assert text.endswith("<!-- loaders: end -->\nafter\n")
    assert "old" not in text
    lines = text.splitlines()
    assert "abc, a machine, 5 repeats" in text
    assert lines[lines.index("| loader | 224² | 512² |") + 2 :][:5] == [
        "| **JPEG 95, the same bytes** | | |",
        "| FFCV | 6,666 ± 120 | 1,329 ± 0 |",
        "| SRLoader | 7,000 ± 50 |  |",
        "| **raw pixels** | | |",
        "| FFCV | 50,300 ± 0 |  |",
    ]
    title = "224², jpeg: SRLoader, times FFCV or SPDL (the fastest: FFCV)"
    assert f"| {title} | 1.05 ± 0.02 × | at least 1 | yes |" in lines
    assert "| 224², raw: SRLoader, times the limit | 0.9 ± 0 × | none |  |" in lines
    with Image.open(plot) as image:
        assert min(image.size) > 200
    write_table(history, readme, plot)
    assert readme.read_text() == text


def test_marks_that_are_not_there_are_not_invented(history, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no marks\n")
    with pytest.raises(SystemExit, match="marks"):
        write_table(history, readme, tmp_path / "loaders.png")
    assert readme.read_text() == "no marks\n"


def test_without_a_measurement_there_is_no_table(tmp_path):
    history = tmp_path / "history.csv"
    append("fill", [Bar(case=FFCV, value=1.0, unit="s")], 5, Provenance(history=history, commit="a", machine="b"))
    with pytest.raises(SystemExit, match="no row of `loaders`"):
        write_table(history, tmp_path / "README.md", tmp_path / "loaders.png")
