"""`srcache report`: where the page is written, what is printed about it, its document, and what is no study."""

import json

import pytest
from report_folder import StudySettings, make_study
from srcache_cli.main import run

from srcache.wording import human_bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    make_study(out, StudySettings(count=3, size=8))
    return out


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_command_writes_a_page_and_a_document(folder, tmp_path, capfd):
    assert run(["report", str(folder), "--out", str(tmp_path / "r.html"), "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["schema"] == "srcache.report/1"
    assert printed["ok"] is True
    assert set(printed["result"]) == {"path", "bytes", "studies"}
    assert printed["result"]["bytes"] == (tmp_path / "r.html").stat().st_size
    assert [set(one) for one in printed["result"]["studies"]] == [{"title", "complete", "answer", "verdict"}]


def test_the_file_its_size_and_the_answer_are_printed(folder, tmp_path, capfd):
    target = tmp_path / "deep/er/r.html"
    assert run(["report", str(folder), "--out", str(target)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines() == [
        f"{target} ({human_bytes(target.stat().st_size)})",
        "textures: SR and bicubic are not shown to differ: +0.0 points, −24.0 to +24.0 over 3 seeds.",
    ]


def test_several_studies_are_printed_in_their_order_and_need_a_file(folder, results, tmp_path, capfd):
    (tmp_path / "b").mkdir()
    other = {**results, "name": "<b>", "seeds": {}, "compare": {}, "verdict": "Nothing."}
    (tmp_path / "b/results.json").write_text(json.dumps(other))
    folders = [str(folder), str(tmp_path / "b")]
    assert run(["report", *folders, "--out", str(tmp_path / "both.html")]) == 0
    first, second = capfd.readouterr().out.splitlines()[1:]
    assert first.startswith("textures: SR and bicubic are not shown to differ: +0.0 points")
    assert second == "<b>: Nothing."
    assert run(["report", *folders]) == 2
    assert "--out FILE" in capfd.readouterr().err
    assert not (tmp_path / "b/report.html").exists()


def test_the_command_says_that_a_study_is_incomplete(folder, results, tmp_path, capfd):
    less = {key: results[key] for key in ("schema", "name", "arms")}
    (tmp_path / "results.json").write_text(json.dumps(less))
    assert run(["report", str(tmp_path)]) == 0
    printed = capfd.readouterr()
    assert "textures: no verdict" in printed.out
    assert "incomplete" in printed.err
    assert "incomplete" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_command_ends_with_2_where_there_is_no_study(tmp_path, capfd):
    assert run(["report", str(tmp_path)]) == 2
    assert "holds no results.json" in capfd.readouterr().err
    assert run(["report"]) == 2


def test_without_a_file_the_page_is_in_the_experiments_folder(tmp_path, monkeypatch, srcache):
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path / "study", StudySettings(count=3, size=8))
    printed = srcache("report", "study")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("study/report.html (")
    assert (tmp_path / "study/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Missing argument 'OUT…'"),
        (".", "holds no results.json"),
        ("study study", "a report of 2 experiments belongs to none of their folders; say where: --out FILE"),
        ("study --out study", "study is a folder; --out must name a file"),
    ],
)
def test_a_mistake_is_refused(tmp_path, monkeypatch, refuse, line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    refuse(f"report {line}", message)
