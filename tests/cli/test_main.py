"""What holds for all commands: one golden JSON document for each, exit codes, help with examples.

Goldens are kept in golden/cli; SRCACHE_WRITE_GOLDENS=1 writes them again, to be read before they are committed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import paths
import pytest
from command_lines import damage
from exif_data import exif, long, short
from PIL import Image
from srcache_cli import main
from srcache_cli.main import COMMANDS, cli, run

from srcache.errors import BusyError, DiskFullError

GOLDEN = paths.GOLDEN / "cli"
TESTED_ELSEWHERE = {
    "eval",
    "quickstart",
    "prepare",
    "train",
    "predict",
    "experiment",
    "models",
    "safety",
    "report",
    "serve",
    "warm",
}
VARYING = {
    *("seconds", "milliseconds", "ended", "padding", "seconds_each", "startup_seconds", "hours"),
    *("versions", "system", "cores", "memory", "free", "filesystem", "network", "devices", "decoders", "extras"),
    *("advice", "old"),
}
"""Keys whose values depend on the machine or the clock."""


# Golden documents

LINES = {
    "scan": (0, "scan photos --out new.csv"),
    "build-part": (0, "build one --cache new --recipe bicubic --set scale=2 --device cpu --shard 0/1"),
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
    "repair-checksums": (0, "repair cache --checksums"),
    "explain-hit": (0, "explain cache photos/größe~1/bild~0.ppm --recipe bicubic --set scale=2"),
    "explain-miss": (0, "explain cache photos/größe~1/bild~0.ppm --recipe lanczos --set scale=4"),
    "prune": (0, "prune cache lanczos bicubic --catalogs"),
    "prune-yes": (0, "prune cache lanczos --yes"),
    "export": (0, "export cache out --recipe bicubic"),
    "export-names": (1, "export cache out --recipe bicubic --names"),
    "export-shards": (0, "export cache out --recipe bicubic --format shards"),
    "export-join": (1, "export cache out --recipe bicubic --join --lr photos"),
    "view": (0, "view cache --recipe bicubic --lr photos --out g.html"),
    "merge": (0, "merge cache --into out --store shards"),
    "engines": (0, "engines"),
    "doctor": (0, "doctor --cache cache"),
    "mistake": (2, "build missing --cache new --recipe bicubic"),
    "error": (2, "info photos"),
}


def _normal(value, home, bytes_vary=False):
    """A document without what depends on the machine or the clock."""
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


@pytest.mark.medium
@pytest.mark.parametrize("name", LINES)
def test_every_command_prints_the_golden_document(name, home, srcache):
    code, line = LINES[name]
    damage(home)
    words = [word.replace("~", " ") for word in line.split()]
    printed = srcache(*words, "--json")
    document = json.loads(printed.out)
    assert printed.code == code
    assert list(document)[:4] == ["schema", "ok", "result", "failures"]
    assert document["schema"] == f"srcache.{words[0]}/1"
    assert document["ok"] is (code == 0)
    if words[0] == "engines":
        document["result"]["engines"] = [_first_fields(one) for one in document["result"]["engines"] if _is_plain(one)]
    if words[0] == "doctor":
        document["result"].update({name: len(document["result"][name]) > 0 for name in ("engines", "recipes")})
    normal = _normal(document, home, bytes_vary=words[0] in ("info", "prune", "export", "view"))
    path = GOLDEN / f"{name}.json"
    if os.environ.get("SRCACHE_WRITE_GOLDENS"):
        path.write_text(json.dumps(normal, indent=2, ensure_ascii=False) + "\n")
    words = "scripts of users read this; SRCACHE_WRITE_GOLDENS=1 writes it again, if it is meant to change"
    assert normal == json.loads(path.read_text()), words


def _is_plain(engine):
    return engine["name"] == "resample"


def _first_fields(engine):
    """What an engine's info had from the start; fields that came later hurt no script."""
    later = {"loads", "compiles", "devices"}
    return {**engine, "info": {name: value for name, value in engine["info"].items() if name not in later}}


def test_every_command_has_a_golden_document():
    assert {line.split()[0] for _, line in LINES.values()} == set(COMMANDS) - TESTED_ELSEWHERE


# Mistakes


def test_an_unknown_command_is_refused(home, refuse):
    refuse("nonsense", "No such command 'nonsense'")


def test_a_mistake_with_json_is_a_document_too(home, srcache):
    for line, kind in (("info photos", "CacheError"), ("info", "UsageError"), ("nonsense", "UsageError")):
        printed = srcache(*line.split(), "--json")
        document = json.loads(printed.out)
        assert (document["ok"], document["result"], document["error"]["kind"]) == (False, None, kind)
        assert document["error"]["exit_code"] == printed.code == 2
        assert printed.err


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
    printed = srcache("info", "cache")
    assert printed.code == code
    assert words in printed.err


def test_an_internal_error_shows_where_it_happened_if_asked(home, monkeypatch):
    monkeypatch.setattr("srcache.maintain.info.info", lambda _: 1 / 0)
    monkeypatch.setenv("SRCACHE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["info", "cache"])


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
    printed = srcache(*name.split(), "--help")
    examples = [line.split() for line in printed.out.splitlines() if line.startswith(f"  srcache {name} ")]
    alone = [line for line in printed.out.splitlines() if line.strip() == f"srcache {name}"]
    assert printed.code == 0
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
    printed = srcache("--help")
    assert printed.code == 0
    assert re.findall(r"^  ([a-z]+)  +[A-Z]", printed.out, re.MULTILINE) == list(COMMANDS)
    assert srcache("--version").out.startswith("srcache, version ")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from srcache_cli.main import run\n"
        "assert run(['info', '--help']) == 0 and run(['upscale', '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'lmdb', 'yaml', 'tqdm'} & set(sys.modules); sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.medium
def test_the_program_ends_with_the_exit_code(home):
    done = subprocess.run(
        [sys.executable, "-m", "srcache_cli.main", "info", "photos"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"srcache: photos is no srcache cache")


def test_what_pillow_warns_of_is_told_once_at_the_end(srcache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = exif(short(0x0112, 6), long(0x9C9C, 0x7FFFFFF0, kind=2))
    (tmp_path / "photos").mkdir()
    for shade in range(3):
        Image.new("RGB", (6, 4), (shade, 9, 9)).save(tmp_path / f"photos/{shade}.png", exif=outside)
    found = srcache("upscale", *(f"photos/{shade}.png" for shade in range(3)), "--recipe", "bicubic", "--out", "out")
    assert found.code == 0
    assert found.err.splitlines()[-1] == (
        "note: Pillow says of 3 images, used all the same: Tag data larger than file. Skipping tag N"
    )
    assert found.err.count("Pillow") == 1
    assert "Pillow" not in srcache("info", "out").err
