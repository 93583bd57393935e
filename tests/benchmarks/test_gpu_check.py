"""The check on a rented GPU machine, as far as a CPU can see: all that it imports and collects is there."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import paths
import pytest

SCRIPT = paths.ROOT / "benchmarks/gpu_check.sh"
_HEREDOC = re.compile(r"^(?P<head>.*)<<'(?P<end>[A-Z])'.*\n(?P<body>(?:.*\n)*?)(?P=end)$", re.MULTILINE)
OURS = {"srcache", "srcache_cli", "srcache_plugins", "benchmarks", "osediff_fixtures", "seesr_fixtures"}
"""Packages of the project, and modules of its tests."""

_MARK = "mark" + ".gpu"
"""In two parts: the script finds the tests for a GPU by this word."""


def programs(text):
    """The Python programs in a shell script by their first lines, those in a shell script within it included."""
    for found in _HEREDOC.finditer(text):
        if found["head"].rstrip().endswith('.sh"'):
            yield from programs(found["body"])
        elif "$PY -" in found["head"] or found["head"].rstrip().endswith('.py"'):
            yield found["head"].strip(), found["body"]


PROGRAMS = list(programs(SCRIPT.read_text(encoding="utf-8")))


def gpu_tests():
    """The names of all test functions that are marked for a GPU."""
    for path in (paths.ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            marks = [ast.unparse(each) for each in node.decorator_list] if isinstance(node, ast.FunctionDef) else []
            if any(_MARK in each or each == "on_devices" for each in marks):
                yield node.name


@pytest.mark.parametrize("program", [body for _, body in PROGRAMS], ids=[head[:40] for head, _ in PROGRAMS])
def test_its_python_programs_compile(program):
    compile(program, "program", "exec")


def test_it_is_a_shell_script_of_seven_python_programs():
    assert len(PROGRAMS) == 7, [head for head, _ in PROGRAMS]
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


@pytest.mark.parametrize("program", [body for _, body in PROGRAMS], ids=[head[:40] for head, _ in PROGRAMS])
def test_what_its_programs_import_from_the_project_is_there(program, monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT)
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            module = import_module(node.module)
            missing = [
                alias.name
                for alias in node.names
                if not hasattr(module, alias.name) and find_spec(f"{node.module}.{alias.name}") is None
            ]
            assert missing == [], node.module


@pytest.mark.slow
def test_all_that_it_imports_and_collects_is_there(tmp_path):
    env = {**os.environ, "DRY": "imports", "OUT": str(tmp_path), "PY": sys.executable, "SLOW": "8", "LIMIT": "1200"}
    env.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(["bash", str(SCRIPT)], cwd=paths.ROOT, env=env, capture_output=True, text=True)
    logs = "\n".join(path.read_text(errors="replace") for path in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    summary, names = (tmp_path / "summary.txt").read_text(encoding="utf-8"), list(gpu_tests())
    for wanted in (
        r"imports of the cases: ok$",
        r"gpu tests \(\d+ files\): ok$",
        r"golden cases on cpu, fp32 fp16 bf16: ok$",
    ):
        assert re.search(wanted, summary, re.MULTILINE), (wanted, summary, logs)
    collected = (tmp_path / "tests.log").read_text(encoding="utf-8")
    assert names
    assert [name for name in names if name not in collected] == []
