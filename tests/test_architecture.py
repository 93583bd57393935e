"""The floors of the house, its sizes and its manners, read from the source with `ast`.

A room imports only from floors below its own, wherever the import stands (in a function and under TYPE_CHECKING too).
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import paths
import pytest

ROOT = paths.ROOT
PACKAGES = {"srcache": "srcache", "srcache_cli": "cli", "srcache_plugins": "plugins", "benchmarks": "benchmarks"}

FLOORS = [
    ["errors", "keys", "progress", "wording"],
    ["files", "machine", "study.statistics", "html"],
    ["images"],
    ["engine", "stores", "catalog"],
    ["weights", "conformance", "study.compare"],
    ["recipe", "study.report.data"],
    ["cache", "study.prepare", "doctor", "study.report.sections"],
    ["service", "maintain", "study.report"],
    ["fill", "dataset", "study.quality"],
    ["study.arms", "loader", "server"],
    ["study.train"],
    ["study.safety"],
    ["study.experiment"],
]
"""Rooms from the ground up. A room is a file or a folder of srcache/; of the study and its report, a folder in them."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
SEEN_BY_ENGINES = {"engine", "images", "weights", "errors"}
SEEN_BY_JOINS = {"cache", "catalog", "dataset", "errors", "files", "images", "loader", "recipe", "service"}
JOINS = {
    "plugins/hf_datasets.py",
    "plugins/huggingface.py",
    "plugins/lightning.py",
    "plugins/timm.py",
    "plugins/webdataset.py",
}
"""Plug-ins on the training side: they hand a data set on to another library."""

LAZY = {"srcache/__init__.py", "srcache/stores/__init__.py", "cli/lazy.py", "benchmarks/__main__.py"}
"""Files that may import by a name made at run time: public names, kinds of store, commands, benchmarks."""

HEAVY = {
    "datasets",
    "diffusers",
    "httpx",
    "huggingface_hub",
    "matplotlib",
    "pyiqa",
    "pytorch_lightning",
    "scipy",
    "skimage",
    "sklearn",
    "statsmodels",
    "timm",
    "torch",
    "torchvision",
    "transformers",
    "webdataset",
}
SHARED_ROOM = "stable_diffusion"
"""What the engines over Stable Diffusion share, in a folder of `plugins` of its own."""

OVER_STABLE_DIFFUSION = {"osediff", "seesr"}
"""The engines that import it; nothing else does."""

NETWORKS = {"plugins/compact/network.py"} | {
    path.relative_to(ROOT).as_posix()
    for folder in (SHARED_ROOM, *OVER_STABLE_DIFFUSION)
    for path in (ROOT / "plugins" / folder).rglob("[a-z]*.py")
}
"""Files made of torch, which are imported only by an engine that is being built."""

UNPICKLES = "srcache/study/quality/pyiqa_guard.py"
"""The one file that may unpickle, where a user asks for it with --allow-code."""

MANY_PARAMETERS = {
    "srcache/dataset/augmented.py: SRAugmentedDataset.__init__",
    "srcache/loader/loader.py: SRLoader.__init__",
}
"""Functions that may have more than six: the lines that a training loop changes. Commands may too: click hands each
option over as a parameter."""


@cache
def _sources() -> dict[str, ast.Module]:
    """Every source file of the four packages by its path, parsed."""
    paths = [path for folder in PACKAGES.values() for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _module(path: str) -> str:
    """cli/build.py → srcache_cli.build; srcache/stores/__init__.py → srcache.stores."""
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    package = next(name for name, folder in PACKAGES.items() if folder == parts[0])
    return ".".join([package, *parts[1:]])


def _room(module: str) -> str:
    """srcache.stores.lmdb → stores; srcache.study.train.loop → study.train: the longest beginning that has a floor."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((name for name in names if name in FLOOR), names[-1])


def _imports(path: str) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, absolute, with the line; `from srcache import keys` is srcache.keys."""
    for node in ast.walk(_sources()[path]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = _home(path, node)
            names = [f"{home}.{alias.name}" for alias in node.names] if home in PACKAGES else [home]
            yield from ((name, node.lineno) for name in names)


def _home(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = _module(path).split(".")
    up = node.level - path.endswith("__init__.py")
    return ".".join([*package[: len(package) - up], *filter(None, [node.module])])


def _core() -> list[str]:
    faces = {"srcache/__init__.py", "srcache/study/__init__.py"}
    return [path for path in _sources() if path.startswith("srcache/") and path not in faces]


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function as (file: Class.name, node, whether it is a method)."""

    def walk(path: str, node: ast.AST, names: tuple[str, ...], method: bool):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}: {'.'.join([*names, child.name])}", child, method
                yield from walk(path, child, (*names, child.name), False)
            elif isinstance(child, ast.ClassDef):
                yield from walk(path, child, (*names, child.name), True)
            else:
                yield from walk(path, child, names, method)

    for path, tree in _sources().items():
        yield from walk(path, tree, (), False)


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call as (file:line, what is called as it is written, node)."""
    for path, tree in _sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{path}:{node.lineno}", ast.unparse(node.func), node


@pytest.mark.medium
def test_every_module_has_a_test_file_of_its_name():
    missing = []
    for path in _sources():
        package, *_, name = path.removesuffix(".py").split("/")
        if package == "benchmarks" or name in ("__init__", "__main__"):
            continue
        inner = path.removeprefix("srcache/") if package == "srcache" else path
        test = (ROOT / "tests" / inner).with_name(f"test_{name}.py")
        missing += [] if test.is_file() else [f"{path} has no {test.relative_to(ROOT)}"]
    assert missing == []


def test_the_listing_of_srcache_stays_short():
    entries = [path.name for path in (ROOT / "srcache").iterdir() if path.suffix == ".py" or path.is_dir()]
    assert len({name for name in entries if name != "__pycache__"}) <= 24


def test_every_room_of_the_core_has_a_floor():
    rooms = {_room(_module(path)) for path in _core()}
    assert rooms - set(FLOOR) == set(), "give the new room a floor, above all that it imports"
    assert set(FLOOR) - rooms == set(), "there is no such room any more"


def test_a_room_imports_only_from_floors_below():
    wrong = []
    for path in _core():
        room = _room(_module(path))
        for name, line in _imports(path):
            if name == "srcache" or not name.startswith("srcache."):
                continue
            other = _room(name)
            if other != room and FLOOR.get(other, 99) >= FLOOR[room]:
                wrong.append(f"{path}:{line}: {room} (floor {FLOOR[room]}) imports {name} (floor {FLOOR.get(other)})")
    assert wrong == []


def test_nothing_but_the_command_line_sees_the_study():
    wrong = []
    for path in _core():
        for name, line in _imports(path) if not path.startswith("srcache/study/") else ():
            wrong += [f"{path}:{line}: {name}"] if name.startswith("srcache.study") else []
    assert wrong == []


def test_the_core_names_neither_the_command_line_nor_plugins():
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in _sources() if path.startswith("srcache/")}
    assert [path for path, text in texts.items() if "srcache_cli" in text or "srcache_plugins" in text] == []


def test_only_stores_know_how_a_store_keeps_its_bytes():
    kinds = {f"srcache.stores.{path.stem}" for path in (ROOT / "srcache/stores").glob("*.py")} - {
        "srcache.stores.__init__",
        "srcache.stores.interface",
    }
    wrong = []
    for path in _sources():
        if path.startswith(("srcache/stores/", "benchmarks/")):
            continue
        wrong += [f"{path}:{line}: {name}" for name, line in _imports(path) if name.split(".")[0] == "lmdb"]
        wrong += [f"{path}:{line}: {name}" for name, line in _imports(path) if name in kinds]
    assert wrong == []


def test_plugins_see_the_seam_and_their_own_folder_only():
    wrong = []
    for path in (path for path in _sources() if path.startswith("plugins/")):
        own = _module(path).split(".")[1:2] if path.count("/") > 1 else []
        own += [SHARED_ROOM] if set(own) & OVER_STABLE_DIFFUSION else []
        for name, line in _imports(path):
            package, *rest = name.split(".")
            seen = SEEN_BY_JOINS if path in JOINS else SEEN_BY_ENGINES
            allowed = {"srcache": seen, "srcache_plugins": set(own)}.get(package)
            if allowed is not None and not (rest and rest[0] in allowed):
                wrong.append(f"{path}:{line}: {name}")
    assert wrong == []


def test_the_command_line_sees_the_core_and_its_siblings_relatively():
    wrong = []
    for path, tree in _sources().items():
        for node in ast.walk(tree) if path.startswith("cli/") else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            wrong += [
                f"{path}:{node.lineno}: {name}" for name in names if name.split(".")[0] in set(PACKAGES) - {"srcache"}
            ]
    assert wrong == []


def test_imports_by_a_name_made_at_run_time_are_few():
    found = {
        place.partition(":")[0]
        for place, called, _ in _calls()
        if called.split(".")[-1] in {"import_module", "__import__"}
    }
    assert found <= LAZY


def test_heavy_packages_are_imported_where_they_are_needed():
    wrong = []
    for path, tree in _sources().items():
        if path.startswith("benchmarks/") or path in NETWORKS:
            continue
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                continue
            for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
                names = [alias.name for alias in inner.names] if isinstance(inner, ast.Import) else []
                names += [inner.module or ""] if isinstance(inner, ast.ImportFrom) and not inner.level else []
                wrong += [f"{path}:{inner.lineno}: {name}" for name in names if name.split(".")[0] in HEAVY]
    assert wrong == []


@pytest.mark.medium
@pytest.mark.parametrize("package", ["srcache", "srcache_cli"])
def test_importing_every_module_loads_nothing_heavy(package):
    modules = [_module(path) for path in _sources() if _module(path).split(".")[0] == package]
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(modules) <= set(loaded)
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()


@pytest.mark.medium
def test_the_public_names_are_there_however_they_are_reached():
    code = (
        "import importlib, srcache, sys\n"
        f"for name in {[_module(path) for path in _core()]}: importlib.import_module(name)\n"
        "for name in srcache.__all__: print(name, type(getattr(srcache, name)).__name__)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    kinds = dict(line.split() for line in printed.splitlines())
    hidden = [name for name, kind in kinds.items() if kind == "module"]
    assert hidden == [], "a public name equals a module's name: once the module is imported, it hides the function"


def test_files_are_short():
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in _sources()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_functions_are_short():
    lengths = {name: 1 + node.end_lineno - node.lineno for name, node, _ in _functions()}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_functions_have_at_most_six_parameters():
    wrong = set()
    for name, node, method in _functions():
        decorators = {ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list}
        count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
        count -= method and "staticmethod" not in decorators
        if count > 6 and not any(decorator.endswith(".command") for decorator in decorators):
            wrong.add(name)
    assert wrong == MANY_PARAMETERS, "beyond six parameters, a dataclass"


def test_there_is_no_drawer():
    drawers = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert [path for path in _sources() if drawers & set(path.removesuffix(".py").split("/"))] == []


def test_the_library_does_not_print():
    assert [place for place, called, _ in _calls() if called == "print" and not place.startswith("benchmarks/")] == []


@pytest.mark.medium
def test_nothing_is_unpickled_unless_it_is_asked_for():
    """Loaders of pickles are not imported; `load` of torch and numpy is called with its safe arguments.

    A loader may also be kept in a variable and called later; the one file that does so may unpickle where a user asks
    for it with --allow-code, and must force weights-only everywhere else.
    """
    loaders = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    wrong = [f"{path}:{line}" for path in _sources() for name, line in _imports(path) if name.split(".")[0] in loaders]
    for place, called, node in _calls():
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called.endswith("torch.load") and words.get("weights_only") != "True":
            wrong.append(place)
        if words.get("allow_pickle", "False") != "False":
            wrong.append(place)
    assert wrong == []
    taken = {
        path
        for path, tree in _sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"
    }
    called = {place.partition(":")[0] for place, name, _ in _calls() if name == "torch.load"}
    assert taken - called <= {UNPICKLES}
    guard = next(
        node
        for node in ast.walk(_sources()[UNPICKLES])
        if isinstance(node, ast.FunctionDef) and node.name == "load_weights"
    )
    calls = [
        ast.unparse(node) for node in ast.walk(guard) if isinstance(node, ast.Call) and ast.unparse(node.func) == "load"
    ]
    assert calls[0] == "load(file, *args, **{**kwargs, 'weights_only': True})"
    (condition,) = (
        node for node in ast.walk(guard) if isinstance(node, ast.If) and ast.unparse(node.test) == "allow_code"
    )
    assert all(call in ast.unparse(condition) for call in calls[1:])


def test_the_first_line_of_a_file_says_what_it_is_for():
    heads = {path: (ROOT / path).read_text(encoding="utf-8").partition("\n")[0] for path in _sources()}
    assert [path for path, head in heads.items() if not head.startswith('"""') or len(head) < 20] == []
    assert all(ast.get_docstring(tree) for tree in _sources().values())


def test_errors_are_not_swallowed():
    wrong = []
    for path, tree in _sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
                if broad and all(isinstance(inner, ast.Pass | ast.Continue) for inner in node.body):
                    wrong.append(f"{path}:{node.lineno}")
    assert wrong == []
