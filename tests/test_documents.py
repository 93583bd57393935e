"""What the documents say about the repository is so: links, files, names in files, floors, commands, versions."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import paths
import pytest

import srcache

ROOT = paths.ROOT
DOCUMENTS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "plugins/README.md",
    "plugins/osediff/README.md",
    "plugins/seesr/README.md",
    "plugins/compact/MODEL_CARD.md",
    "configs/cluster/README.md",
    "configs/cluster/service.md",
    "configs/experiments/README.md",
    "benchmarks/README.md",
]
GUIDES = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
FOLDERS = ("srcache", "cli", "plugins", "configs", "tests", "benchmarks")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", read(name), flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What a link into a document can point to: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(name: str) -> Iterator[tuple[str, str]]:
    """Every file or folder that a document names in code, and the name in it (`path: name`) or an empty text."""
    for code in re.findall(r"`([^`\n]+)`", prose(name)):
        found = re.fullmatch(r"((?:\.?[\w-]+/)+[\w.-]*)(?:: ([\w.]+))?", code)
        if found and (found[2] or found[1].split("/")[0] in FOLDERS):
            yield found[1], found[2] or ""


def defined(tree: ast.Module) -> set[str]:
    """The names that a module defines at its top, and the members of its classes as Class.member."""
    found = set[str]()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def is_there(module: str, name: str) -> bool:
    """Whether a module has a name, be it a module below it."""
    return hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text, home = read(name), (ROOT / name).parent
    links = re.findall(r"\]\(([^)\s]+)\)", prose(name)) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = home / path if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_files_that_it_names_are_there(name: str) -> None:
    assert {path for path, _ in named(name) if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("name", GUIDES)
def test_the_names_that_it_places_in_files_are_defined_there(name: str) -> None:
    places = [(path, word) for path, word in named(name) if word]
    assert len(places) >= 8
    wrong = [f"{path}: {word}" for path, word in places if word not in defined(ast.parse(read(path)))]
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_the_modules_and_functions_that_it_names_can_be_imported(name: str) -> None:
    for dotted in re.findall(r"`((?:srcache|srcache_plugins)(?:\.\w+)+)(?:\([^`]*\))?`", prose(name)):
        if Path(dotted).suffix in {".engines", ".json"}:  # an entry-point group, a file of a cache
            continue
        module, _, last = dotted.rpartition(".")
        assert is_there(module, last), dotted


def test_every_claim_about_security_has_a_test() -> None:
    claims = re.findall(r"^\| (?!…)(?!-)(.*?) \| (.*) \|$", read("SECURITY.md"), re.MULTILINE)
    assert len(claims) >= 30
    assert [claim for claim, test in claims if not re.fullmatch(r"`tests/\S+\.py: test_\w+`", test)] == []


def test_the_drawing_of_the_floors_is_that_of_the_test() -> None:
    tree = ast.parse(read("tests/test_architecture.py"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    )
    floors = dict(enumerate(ast.literal_eval(value)))
    drawn = re.findall(r"^ ?(\d+)  (.*)$", read("ARCHITECTURE.md"), re.MULTILINE)
    assert {int(floor): set(rooms.split()) for floor, rooms in drawn} == {
        floor: set(rooms) for floor, rooms in floors.items()
    }


def test_every_package_has_its_line() -> None:
    text = prose("ARCHITECTURE.md")
    rooms = [path for path in (ROOT / "srcache").iterdir() if (path / "__init__.py").exists()]
    modules = [path for path in (ROOT / "srcache").glob("*.py") if path.name != "__init__.py"]
    lines = [*(f"`srcache/{path.name}/`" for path in rooms), *(f"`srcache/{path.name}`" for path in modules)]
    assert [line for line in lines if line not in text] == []


def test_the_folders_of_tests_are_explained() -> None:
    mirrored = {path.stem for folder in ("srcache", "srcache/study") for path in (ROOT / folder).iterdir()}
    others = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    others -= mirrored | set(FOLDERS)
    assert {name for name in others if f"`tests/{name}`" not in prose("CONTRIBUTING.md")} == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_make_are_targets(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    wanted = set(re.findall(r"^make ([a-z-]+)", read(name), re.MULTILINE)) | set(
        re.findall(r"`make ([a-z-]+)`", prose(name))
    )
    assert wanted
    assert wanted <= targets


def test_the_programs_that_contributors_run_are_there() -> None:
    code = re.findall(r"^(\.venv/.*)$|`(\.venv/[^`]*)`", read("CONTRIBUTING.md"), re.MULTILINE)
    commands = [shlex.split((block or inline).partition("#")[0]) for block, inline in code]
    assert len(commands) >= 4
    for python, *words in commands:
        assert python == ".venv/bin/python"
        assert all((ROOT / word).exists() for word in words if "/" in word and "VERSION" not in word), words
        assert words[0] != "-m" or find_spec(words[1]) is not None, words


def test_the_markers_are_those_of_pytest() -> None:
    options = tomllib.loads(read("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    (line,) = (line for line in read("CONTRIBUTING.md").splitlines() if line.startswith("* Markers:"))
    markers = {marker.partition(":")[0] for marker in options["markers"]}
    assert set(re.findall(r"`(\w+)`", line)) == markers
    assert all(f"not {marker}" in options["addopts"] for marker in markers - {"medium"})
    assert "not medium" in read("Makefile"), "make check leaves them out"


def test_every_shipped_experiment_is_in_its_table() -> None:
    shipped = {path.name for path in (ROOT / "configs/experiments").glob("*.yaml")}
    assert set(re.findall(r"^\| \[[\w-]+\]\(([^)]+)\)", read("configs/experiments/README.md"), re.MULTILINE)) == shipped


def test_what_moved_is_where_the_changelog_says() -> None:
    rows = re.findall(r"^\| `srcache.*? \| (.*) \|$", read("CHANGELOG.md"), re.MULTILINE)
    assert len(rows) > 15
    wrong = []
    for home, words in re.findall(r"`(srcache[\w.]*?)(?:\.\{([^}]*)\})?`", " ".join(rows)):
        if words:
            module = import_module(home)
            wrong += [f"{home}.{word}" for word in words.split(", ") if not is_there(module.__name__, word)]
        else:
            above, _, last = home.rpartition(".")
            wrong += [] if is_there(above, last) else [home]
    assert wrong == []


def test_the_version_is_the_same_wherever_it_stands() -> None:
    import yaml

    citation = yaml.safe_load(read("CITATION.cff"))
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == srcache.__version__ == citation["version"]
    heads = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] == "Unreleased"


def test_the_thesis_is_cited_by_author_and_title() -> None:
    import yaml

    (thesis,) = (one for one in yaml.safe_load(read("CITATION.cff"))["references"] if one["type"] == "thesis")
    (author,) = thesis["authors"]
    words = " ".join(read("README.md").split())
    assert f"{author['given-names']} {author['family-names']}, *{thesis['title']}*" in words
    assert str(thesis["year"]) in words
