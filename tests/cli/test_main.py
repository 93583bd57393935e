"""The command line: one golden JSON document per command, exit codes, one line per mistake, help with examples.

Goldens are kept in golden/cli; SRCACHE_WRITE_GOLDENS=1 writes them anew, to be read before they are committed.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import paths
import pytest
from srcache_cli import main, output
from srcache_cli.main import COMMANDS, cli, run

from srcache.cache.manifest import open_cache
from srcache.errors import BusyError, DiskFullError
from srcache.fill.settings import FillInterrupted, FillReport
from srcache.keys import file_key

GOLDEN = paths.GOLDEN / "cli"
TESTED_ELSEWHERE = {"eval", "quickstart", "prepare", "train", "predict", "experiment", "models", "safety", "report"}
VARYING = {
    *("seconds", "milliseconds", "ended", "padding", "seconds_each", "startup_seconds", "hours"),
    *("versions", "system", "cores", "memory", "free", "filesystem", "network", "devices", "extras", "advice", "old"),
}
"""Keys whose values hang on the machine or the clock."""


@pytest.fixture(scope="module")
def _home(tmp_path_factory) -> Path:
    """Photos whose bytes are the same everywhere, and a cache of them: `bicubic` ×2 of all, `lanczos` ×2 of one."""
    home = tmp_path_factory.mktemp("home")
    (home / "photos/größe 1").mkdir(parents=True)
    for number, (height, width) in enumerate([(6, 8), (8, 6), (6, 8)]):
        pixels = (np.arange(height * width * 3) * (7 + number) % 251).astype(np.uint8)
        name = home / "photos/größe 1" / f"bild {number}.ppm"
        name.write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes())
    (home / "photos/größe 1/leer.png").touch()
    (home / "one/größe 1").mkdir(parents=True)
    shutil.copy(home / "photos/größe 1/bild 0.ppm", home / "one/größe 1")
    assert run(["build", str(home / "photos"), "--cache", str(home / "cache"), *_recipe("bicubic")]) == 1
    assert run(["build", str(home / "one"), "--cache", str(home / "cache"), *_recipe("lanczos")]) == 0
    return home


def _recipe(name):
    return ["--recipe", name, "--set", "scale=2", "--device", "cpu"]


@pytest.fixture
def home(_home, tmp_path, monkeypatch, capfd) -> Path:
    """A copy of the photos and the cache for each test, and the current folder."""
    capfd.readouterr()
    shutil.copytree(_home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def srcache(capfd):
    """Run a command line; what it says, and its exit code. No command may ever show a traceback."""

    def call(*words):
        code = run([str(word) for word in words])
        said = Said(code, *capfd.readouterr())
        assert "Traceback" not in said.err + said.out
        return said

    return call


# Golden documents

LINES = {
    "build": (0, "build one --cache new --recipe bicubic --set scale=2 --device cpu"),
    "build-failed": (1, "build photos --cache new --recipe bicubic --set scale=2 --device cpu"),
    "build-dry-run": (
        0,
        "build photos --cache cache --recipe bicubic --set scale=2 --dry-run --retry-failed",
    ),
    "upscale": (1, "upscale photos/größe~1/bild~0.ppm photos/größe~1/leer.png --recipe bicubic --out out --device cpu"),
    "info": (0, "info cache"),
    "verify": (0, "verify cache"),
    "verify-damaged": (3, "verify damaged"),
    "repair": (0, "repair cache"),
    "repair-damaged": (0, "repair damaged"),
    "explain-hit": (0, "explain cache photos/größe~1/bild~0.ppm --recipe bicubic --set scale=2"),
    "explain-miss": (0, "explain cache photos/größe~1/bild~0.ppm --recipe lanczos --set scale=4"),
    "prune": (0, "prune cache lanczos bicubic --catalogs"),
    "prune-yes": (0, "prune cache lanczos --yes"),
    "export": (0, "export cache out --recipe bicubic"),
    "export-names": (1, "export cache out --recipe bicubic --names"),
    "engines": (0, "engines"),
    "doctor": (0, "doctor --cache cache"),
    "mistake": (2, "build missing --cache new --recipe bicubic"),
    "error": (2, "info photos"),
}


def _damage(home):
    shutil.copytree(home / "cache", home / "damaged")
    data = open_cache(home / "damaged").find("bicubic").store_path / "data.mdb"
    os.truncate(data, data.stat().st_size - 4096)


def _normal(value, home, bytes_vary=False):
    """A document without what hangs on the machine or the clock."""
    if isinstance(value, dict):
        varying = VARYING | ({"bytes"} if bytes_vary else set())
        return {
            key: f"<{key}>" if key in varying and inner is not None else _normal(inner, home, bytes_vary)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_normal(inner, home, bytes_vary) for inner in value]
    if isinstance(value, str):
        text = value.replace(str(home), "<home>").replace(os.environ["SRCACHE_HOME"], "<memo>")
        return re.sub(r"\d+ bytes", "<n> bytes", re.sub(r"has \d+;", "has <n>;", text))
    return value


@pytest.mark.parametrize("name", LINES)
def test_every_command_prints_the_golden_document(name, home, srcache):
    code, line = LINES[name]
    _damage(home)
    words = [word.replace("~", " ") for word in line.split()]
    said = srcache(*words, "--json")
    document = json.loads(said.out)
    assert said.code == code
    assert list(document)[:4] == ["schema", "ok", "result", "failures"]
    assert document["schema"] == f"srcache.{words[0]}/1"
    assert document["ok"] is (code == 0)
    if words[0] == "engines":
        document["result"]["engines"] = [_first_fields(one) for one in document["result"]["engines"] if _is_plain(one)]
    if words[0] == "doctor":
        document["result"].update({name: len(document["result"][name]) > 0 for name in ("engines", "recipes")})
    normal = _normal(document, home, bytes_vary=words[0] in ("info", "prune", "export"))
    path = GOLDEN / f"{name}.json"
    if os.environ.get("SRCACHE_WRITE_GOLDENS"):
        path.write_text(json.dumps(normal, indent=2, ensure_ascii=False) + "\n")
    words = "scripts of other people read this; SRCACHE_WRITE_GOLDENS=1 writes it anew, if it is meant to change"
    assert normal == json.loads(path.read_text()), words


def _is_plain(engine):
    return engine["name"] == "resample"


def _first_fields(engine):
    """What an engine's info had from the start; fields that came later hurt no script."""
    later = {"loads", "compiles"}
    return {**engine, "info": {name: value for name, value in engine["info"].items() if name not in later}}


def test_every_command_has_a_golden_document():
    assert {line.split()[0] for _, line in LINES.values()} == set(COMMANDS) - TESTED_ELSEWHERE


# Text


def test_what_build_says(home, srcache):
    said = srcache("build", "photos", "--cache", "new", *_recipe("bicubic"))
    assert said.code == 1
    assert "new/bicubic-acbb464ab9619f0b" in said.out
    assert re.search(r"^added +3  [\d.]+ s, [\d.]+ images/s$", said.out, re.MULTILINE)
    assert said.err == "  empty: größe 1/leer.png: the file has no bytes\n"
    again = srcache("build", "photos", "--cache", "new", *_recipe("bicubic"))
    assert "failed earlier  1  --retry-failed tries them again" in again.out.replace("   ", " ").replace("  1", "  1")


def test_what_info_says(home, srcache):
    said = srcache("info", "cache")
    first, second = said.out.split("\n\n")[1:]
    assert said.out.startswith("cache: 2 recipes, lmdb, ")
    assert [line.split()[0] for line in first.splitlines()] == [
        "bicubic-acbb464ab9619f0b",
        *("made", "stored", "covers", "covers", "failed", "built"),
    ]
    assert "resample ×2, filter bicubic" in first
    assert "3 SR images, qoi" in first
    assert "3 of 4 images of catalog" in first
    assert "empty 1" in first
    assert "1 run; the last: 3 added in" in first
    assert "all 1 image of catalog" in second


def test_what_verify_and_repair_say(home, srcache):
    _damage(home)
    whole = srcache("verify", "cache")
    assert whole.out.startswith("cache: 4 SR images in 2 recipes checked")
    assert whole.out.endswith("1 more were asked for, but failed or are not made yet\nall as written\n")
    bad = srcache("verify", "damaged")
    assert bad.code == 3
    assert bad.err.startswith("1 problem; `srcache repair damaged` keeps what is whole\n  damaged: bicubic-acbb")
    mended = srcache("repair", "damaged")
    assert mended.code == 0
    assert "lanczos-d9b6f661a66b48ba: nothing to do, 1 SR image as written" in mended.out
    assert "the damaged file is in damaged/bicubic-acbb464ab9619f0b/data.lmdb.damaged-" in mended.out
    assert srcache("verify", "damaged").code == 0
    (home / "damaged/lanczos-d9b6f661a66b48ba/recipe.yaml").write_text("{")
    left = srcache("repair", "damaged")
    assert left.code == 3
    assert left.err.startswith("cannot be mended:\n  damaged: lanczos-d9b6f661a66b48ba/recipe.yaml: ")
    assert srcache("info", "damaged").code == 3


def test_what_explain_says(home, srcache):
    image = "photos/größe 1/bild 1.ppm"
    assert srcache("explain", "cache", image, "--recipe", "bicubic", "--set", "scale=2").out == (
        "hit: it is stored\n"
        f"image          {image}\n"
        f"key            {file_key(home / image)}\n"
        "recipe         bicubic-acbb464ab9619f0b\n"
        f"entries        {file_key(home / image)}-000\n"
        "catalogued as  größe 1/bild 1.ppm\n"
        "also held      lanczos-d9b6f661a66b48ba (options.filter lanczos) lacks it\n"
    )
    miss = srcache("explain", "cache", image, "--recipe", "lanczos")
    assert miss.code == 0
    assert miss.out.startswith(
        "miss: the cache does not hold this recipe; the most similar one, lanczos-d9b6f661a66b48ba"
    )
    assert "differs in scale (asked 4, cached 2)" in miss.out


def test_what_prune_says(home, srcache):
    before = sorted(path for path in home.rglob("*"))
    told = srcache("prune", "cache", "lanczos")
    assert told.out.startswith("would remove cache/lanczos-d9b6f661a66b48ba\n")
    assert told.out.endswith(" to free; --yes removes\n")
    assert sorted(path for path in home.rglob("*")) == before
    assert srcache("prune", "cache", "lanczos", "--yes").out.startswith("removed cache/lanczos-d9b6f661a66b48ba\n")
    assert [folder.recipe.name for folder in open_cache("cache").folders()] == ["bicubic"]
    assert srcache("prune", "cache", "--catalogs", "--yes").out == "nothing to remove\n"


def test_what_export_and_upscale_say(home, srcache):
    said = srcache("export", "cache", "out", "--recipe", "bicubic", "--names")
    assert said.out.startswith("out: 3 images of bicubic-acbb464ab9619f0b, ")
    assert said.err == "1 image not exported\n  absent: größe 1/leer.png: the cache has no image of it\n"
    images = ["photos/größe 1/bild 0.ppm", "photos/größe 1/leer.png"]
    said = srcache("upscale", *images, "--out", "up", *_recipe("bicubic"))
    assert said.code == 1
    assert said.out == "up/bild 0.png\n", "only files on stdout, for the next program"
    assert said.err.startswith("1 image by bicubic-acbb464ab9619f0b in ")
    assert said.err.endswith("1 image failed\n  empty: photos/größe 1/leer.png: the file has no bytes\n")
    assert Path("up/bild 0.png").read_bytes() == Path("out/größe 1/bild 0.png").read_bytes()
    assert srcache("upscale", images[0], "--out", "up", *_recipe("bicubic")).code == 2
    assert srcache("upscale", images[0], "--out", "up", "--force", *_recipe("bicubic")).code == 0


def test_a_broken_engine_is_listed_with_its_error(home, srcache, tmp_path, monkeypatch):
    folder = tmp_path / "site/strange-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[srcache.engines]\nstrange = strange_module:Engine\n")
    (tmp_path / "site/strange_module.py").write_text("raise OSError('libstrange.so is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    said = srcache("engines")
    assert said.code == 0
    assert "strange\nbroken  engine strange is installed but does not load: OSError('libstrange.so is" in said.out
    assert "resample\ndoes " in said.out
    document = json.loads(srcache("engines", "--json").out)
    [strange] = [one for one in document["result"]["engines"] if one["name"] == "strange"]
    assert (strange["info"], "libstrange.so" in strange["error"]) == (None, True)
    assert srcache("doctor").code == 0
    assert "note: engine strange is broken" in srcache("doctor").out


def test_what_engines_and_doctor_say(home, srcache, monkeypatch):
    engines = srcache("engines").out
    assert "\nresample\ndoes " in f"\n{engines}"
    assert "filter=bicubic [nearest, bilinear, bicubic, lanczos]  Pillow's resampling filter" in engines
    assert "code Apache-2.0; weights: none needed" in engines
    assert "scales     ×2, ×4" in engines
    said = srcache("doctor", "--cache", "cache")
    assert said.code == 0
    assert re.search(r"^cache +cache \(.* free\)$", said.out, re.MULTILINE)
    monkeypatch.setattr("srcache.doctor._lacking", lambda extra, required=False: ["numpy is not installed; run: pip …"])
    said = srcache("doctor")
    assert said.code == 4
    assert said.err == "problem: numpy is not installed; run: pip …\n"
    assert re.search(r"^extra +samples: lacks .*; run: pip install 'srcache\[samples\]'$", said.out, re.MULTILINE)


# Mistakes

MISTAKES = {
    "info photos": "photos is no srcache cache",
    "info nowhere": "nowhere is no srcache cache",
    "info cache --colour": "No such option",
    "info": "Missing argument 'CACHE'",
    "nonsense": "No such command 'nonsense'",
    "verify cache --recipe nope": "holds no recipe 'nope'; it holds: bicubic-acbb464ab9619f0b, lanczos-",
    "repair cache --recipe nope": "holds no recipe 'nope'",
    "prune cache": "expected a RECIPE to remove, or --catalogs",
    "prune cache nope --yes": "holds no recipe 'nope'",
    "prune photos x --yes": "photos is no srcache cache",
    "export cache photos --recipe bicubic": "photos exists and is not empty",
    "export cache out": "cache holds 2 recipes",
    "export cache out --format zip": "Invalid value for '--format'",
    "explain cache missing.png --recipe bicubic": "File 'missing.png' does not exist",
    "explain cache photos --recipe bicubic": "File 'photos' is a directory",
    "explain cache one.png": "does not exist",
    "build missing --cache new --recipe bicubic": "Path 'missing' does not exist",
    "build photos --cache photos --recipe bicubic": "is not empty, and is no srcache cache",
    "build photos --cache new --recipe nope": "no recipe is named 'nope'; use one of bicubic, ",
    "build photos --cache new --recipe bicubic --samples 0": "Invalid value for '--samples'",
    "build photos --cache new --recipe bicubic --samples 2": "2 samples would all be the same; use 1",
    "build photos --cache new --recipe bicubic --set scale": "expected key=value, such as scale=2, but got 'scale'",
    "build photos --cache new --recipe bicubic --set =2": "expected key=value",
    "build photos --cache new --recipe bicubic --set scale=[": "the value of scale is not YAML",
    "build photos --cache new --recipe bicubic --set scale=0 --set colour=1": "unknown field colour",
    "build photos --cache new --recipe bicubic --set options.filter=x": "option filter must be one of nearest",
    "build photos --cache new --recipe bicubic --set options.x=1": "engine resample has no option x; it has: filter",
    "upscale photos --recipe bicubic --out out": "is a directory",
    "upscale --recipe bicubic --out out": "Missing argument 'IMAGES...'",
    "upscale cache/srcache.json --recipe bicubic --set seed=1 --out out": "draws no noise; leave seed out",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_words_with_exit_code_2(line, home, srcache):
    said = srcache(*line.split())
    assert said.code == 2
    assert said.out == ""
    assert MISTAKES[line] in said.err.replace("\n", " ").replace("  ", " ")
    assert re.search(r"^srcache: ", said.err, re.MULTILINE)
    assert not Path("new").exists()
    assert not Path("out").exists()


def test_several_mistakes_in_a_recipe_are_told_at_once(home, srcache):
    said = srcache(
        "explain", "cache", "one/größe 1/bild 0.ppm", "--recipe", "bicubic", "--set", "scale=0", "--set", "x=1"
    )
    assert "unknown field x" in said.err
    assert "scale must be a number above 0" in said.err


def test_a_mistake_with_json_is_a_document_too(home, srcache):
    for line, kind in (("info photos", "CacheError"), ("info", "UsageError"), ("nonsense", "UsageError")):
        said = srcache(*line.split(), "--json")
        document = json.loads(said.out)
        assert (document["ok"], document["result"], document["error"]["kind"]) == (False, None, kind)
        assert document["error"]["exit_code"] == said.code == 2
        assert said.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DiskFullError("no room on x"), 4, "srcache: no room on x"),
        (BusyError("x is being filled by process 7"), 4, "being filled by process 7"),
        (KeyboardInterrupt(), 130, "srcache: interrupted"),
        (click.Abort(), 130, "srcache: interrupted"),
        (ZeroDivisionError("no"), 70, r"internal error (ZeroDivisionError: no); this is a bug in srcache"),
        (BrokenPipeError(), 1, ""),
        (SystemExit(9), None, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_has_its_exit_code(home, srcache, monkeypatch, error, code, words):
    def act(*_):
        raise error

    monkeypatch.setattr("srcache.maintain.info.info", act)
    monkeypatch.setattr(main.os, "dup2", lambda *_: None)
    if code is None:
        with pytest.raises(SystemExit):
            run(["info", "cache"])
        return
    said = srcache("info", "cache")
    assert said.code == code
    assert words in said.err


def test_an_interrupted_build_says_how_to_go_on(home, srcache, monkeypatch):
    report = FillReport(folder=home, recipe="r", wanted=10, stored=2, added=3, interrupted=True)

    def interrupt(*_):
        raise FillInterrupted(report)

    monkeypatch.setattr("srcache.fill.run.fill", interrupt)
    said = srcache("build", "photos", "--cache", "new", *_recipe("bicubic"))
    assert said.code == 130
    assert "the batch in hand was finished" in said.err
    assert "3 added, 5 left" in said.err
    assert "Run the same command again to go on" in said.err


def test_an_internal_error_shows_where_it_happened_if_asked(home, monkeypatch):
    monkeypatch.setattr("srcache.maintain.info.info", lambda _: 1 / 0)
    monkeypatch.setenv("SRCACHE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["info", "cache"])


# Options from a file


def _config(text):
    Path("options.yaml").write_text(text)
    return ["--config", "options.yaml"]


def test_options_may_come_from_a_file_and_the_command_line_wins(home, srcache):
    config = _config(
        "src: photos\ncache: new\nrecipe: bicubic\nset: {scale: 2, options.filter: lanczos}\ndry-run: true\n"
    )
    assert srcache("build", *config).out.startswith("bicubic-d9b6f661a66b48ba (dry run: nothing was written)")
    said = srcache("build", *config, "--set", "scale=3", "--recipe", "lanczos")
    assert said.out.startswith("lanczos-")
    assert "d9b6f661a66b48ba" not in said.out
    assert not Path("new").exists()
    assert srcache("prune", *_config("cache: cache\nrecipes: [lanczos]\ncatalogs: true\n")).out.startswith(
        "would remove"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "colour: red\nsizes: 3\ncache: x\n",
            "has unknown options colour, sizes; known: batch, cache, compile, device, dry-run",
        ),
        ("config: other.yaml\n", "has unknown options config"),
        ("[1, 2]\n", "must be a mapping of option names to values"),
        ("recipe: [\n", "is not YAML"),
        ("\xff", "is not YAML"),
        ("samples: many\n", "Invalid value for '--samples'"),
        ("set: {scale: -1}\n", "scale must be a number above 0"),
    ],
)
def test_a_mistake_in_the_file_is_told(home, srcache, text, message):
    Path("options.yaml").write_bytes(text.encode("latin-1"))
    said = srcache("build", "photos", "--cache", "new", "--recipe", "bicubic", "--config", "options.yaml")
    assert said.code == 2
    assert message in said.err
    assert not Path("new").exists()


def test_an_empty_file_changes_nothing(home, srcache):
    assert srcache("info", "cache", *_config("# nothing\n")).code == 0
    assert "does not exist" in srcache("info", "cache", "--config", "missing.yaml").err


# Help


def _commands():
    """Every command that is there with its words; groups with their sub-commands."""
    context = click.Context(cli)
    for name in sorted(set(COMMANDS) & {path.stem for path in Path(main.__file__).parent.glob("*.py")}):
        command = cli.get_command(context, name)
        inner = command.list_commands(context) if isinstance(command, click.Group) else []
        yield from ((f"{name} {sub}", command.get_command(context, sub)) for sub in inner)
        yield name, command


@pytest.mark.parametrize(
    ("name", "command"), list(_commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_help_has_an_example_that_is_a_command_line(name, command, srcache):
    said = srcache(*name.split(), "--help")
    examples = [line.split() for line in said.out.splitlines() if line.startswith(f"  srcache {name} ")]
    alone = [line for line in said.out.splitlines() if line.strip() == f"srcache {name}"]
    assert said.code == 0
    assert examples or alone
    assert command.short_help
    assert command.short_help.endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    known = {text for parameter in command.params for text in parameter.opts}
    used = {word for words in examples for word in words if word.startswith("--")}
    assert isinstance(command, click.Group) or used <= known


def test_the_first_help_lists_every_command(srcache):
    said = srcache("--help")
    assert said.code == 0
    assert re.findall(r"^  ([a-z]+)  +[A-Z]", said.out, re.MULTILINE) == list(COMMANDS)
    assert srcache("--version").out.startswith("srcache, version ")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from srcache_cli.main import run\n"
        "assert run(['info', '--help']) == 0 and run(['upscale', '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'lmdb', 'yaml', 'tqdm'} & set(sys.modules); sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_ends_with_the_exit_code(home):
    done = subprocess.run(
        [sys.executable, "-m", "srcache_cli.main", "info", "photos"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"srcache: photos is no srcache cache")


# Output


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
