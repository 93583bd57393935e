"""How commands write: documents, tables, lists that are cut short."""

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_lines import recipe_words
from srcache_cli import output

from srcache.cache.failures import FailedEntry


def test_tables_are_aligned_numbers_to_the_right():
    rows = [("a", 1, 2.5, "x"), ("longer", 100, math.inf, "")]
    assert output.table(rows, ("name", "n", "v", "w")).splitlines() == [
        "name      n      v  w",
        "a         1  2.500  x",
        "longer  100    inf",
    ]
    assert output.table([]) == ""


def test_numbers_that_json_cannot_hold_are_null_beside_a_reason():
    document = json.loads(output.document("x", {"psnr": math.inf, "deep": [{"nan": math.nan}], "path": Path("a/b")}))
    assert document["result"] == {
        "psnr": None,
        "psnr_reason": "infinite",
        "deep": [{"nan": None, "nan_reason": "undefined"}],
        "path": "a/b",
    }


def test_long_lists_are_cut_short_in_text():
    failures = [type("F", (), {"reason": "r", "source": f"s{number}", "detail": "d"}) for number in range(12)]
    lines = output.failure_lines(failures).splitlines()
    assert len(lines) == 11
    assert lines[0] == "  r: s0: d"
    assert lines[-1] == "  … and 2 more (--json lists all)"


@dataclass
class Failure:
    reason: str
    source: str
    detail: str


@dataclass
class Finding(Failure):
    name: str


def test_documents_hold_dataclasses_paths_and_collections():
    document = json.loads(output.document("x", {"one": Failure("r", "s", "d"), "all": ({1}, [Path("p")])}, [Path("q")]))
    assert document == {
        "schema": "srcache.x/1",
        "ok": True,
        "result": {"one": {"reason": "r", "source": "s", "detail": "d"}, "all": [[1], ["p"]]},
        "failures": ["q"],
    }


def test_a_set_is_written_in_one_order():
    letters = [chr(number) for number in range(ord("a"), ord("z"))]
    assert json.loads(output.document("x", {"set": {*letters}}))["result"]["set"] == letters


def test_a_document_of_an_error_has_no_result():
    assert json.loads(output.error_document("x", "größer", "ConfigError", 2)) == {
        "schema": "srcache.x/1",
        "ok": False,
        "result": None,
        "failures": [],
        "error": {"kind": "ConfigError", "message": "größer", "exit_code": 2},
    }


def test_attributes_are_in_the_order_asked_for():
    found = output.attributes(Failure("r", "s", "d"), "detail", "reason")
    assert list(found.items()) == [("detail", "d"), ("reason", "r")]
    with pytest.raises(AttributeError):
        output.attributes(Failure("r", "s", "d"), "colour")


def test_numbers_in_texts_are_aligned_to_the_right():
    rows = [("a", "100.0 %", "0.0420", "–", "1 of 2"), ("b", "0.5 %", "< 0.0001", "∞", "12 of 20")]
    assert output.table(rows, ("arm", "share", "p", "x", "seeds")).splitlines() == [
        "arm    share         p  x  seeds",
        "a    100.0 %    0.0420  –  1 of 2",
        "b      0.5 %  < 0.0001  ∞  12 of 20",
    ]


def test_a_table_without_rows_is_its_headers():
    assert output.table([], ("name", "n")) == "name  n"


def test_a_list_that_fits_is_not_cut():
    assert output.first_lines(["a", "b"], most=2) == "  a\n  b"
    assert output.first_lines(["a", "b", "c"], most=2) == "  a\n  b\n  … and 1 more (--json lists all)"
    assert output.first_lines([]) == ""


def test_findings_are_named_by_entry_or_file():
    findings = [Finding("damaged", "file", "bad", "entry"), Finding("missing", "file", "gone", "")]
    assert output.finding_lines(findings) == "  damaged: entry: bad\n  missing: file: gone"


def test_reasons_are_counted_in_the_order_given():
    assert output.reasons({"truncated": 3, "empty": 1}) == "truncated 3, empty 1"
    assert output.reasons({}) == ""


def test_all_that_commands_print_goes_one_way():
    """`saying.show`, past which no name of a file reaches a terminal as it is."""
    modules = list(Path(output.__file__).parent.glob("*.py"))
    assert len(modules) > 25
    printing = re.compile(r"click\.s?echo|\bprint\(|std(out|err)\.write")
    assert [path.name for path in modules for _ in printing.findall(path.read_text())] == ["saying.py"]


def test_a_name_cannot_command_a_terminal(srcache, home):
    (home / "one/größe 1/\x1b[2J\r.png").write_bytes(b"none")
    printed = srcache("build", "one", "--cache", "new", *recipe_words("bicubic"))
    assert r"größe 1/\x1b[2J\x0d.png: " in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_any_path_is_valid_utf_8_in_a_document(srcache, home):
    place = os.fsdecode(b"m\xfcll")
    printed = srcache("build", "one", "--cache", place, *recipe_words("bicubic"), "--json")
    assert json.loads(printed.out.encode("utf-8"))["result"]["folder"].startswith(f"{place}/bicubic-")


@pytest.mark.parametrize(
    ("reasons", "code"), [((), 0), (("empty",), 1), (("empty", "checksum"), 3), (("damaged",), 3), (("conflict",), 1)]
)
def test_what_was_left_out_of_a_damaged_cache_has_the_exit_code_of_damage(reasons, code):
    assert output.failed_code([FailedEntry("", "a.png", reason, "") for reason in reasons]) == code
