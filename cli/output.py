"""What commands share: options, progress on stderr, tables and JSON documents on stdout."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from srcache.errors import ConfigError

_F = TypeVar("_F", bound=Callable[..., Any])


def common(command: _F) -> _F:
    """The options of every command: `--json` and `--config`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout instead of text."),
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            callback=_read_config,
            is_eager=True,
            expose_value=False,
            help="A YAML file with this command's options; the command line wins.",
        ),
    ):
        command = option(command)
    return command


def recipe_options(command: _F) -> _F:
    """`--recipe` and `--set`, for commands that make SR images."""
    for option in (
        set_option("Change a field of the recipe, such as scale=2 or options.filter=lanczos; repeatable."),
        click.option("--recipe", required=True, metavar="NAME|FILE", help="A shipped recipe's name, or a YAML file."),
    ):
        command = option(command)
    return command


def set_option(help_text: str) -> Callable[[_F], _F]:
    """`--set KEY=VALUE`, which a command gets as a mapping `changes`."""
    return click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _context, _option, words: parse_changes(words),
        help=help_text,
    )


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words → a mapping; values are read as YAML, so that 2 is a number."""
    import yaml

    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"expected key=value, such as scale=2, but got {word!r}")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.BadParameter(f"the value of {key} is not YAML: {value!r}") from error
    return changes


@contextmanager
def progress(label: str, unit: str = "image") -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and ETA on stderr; nothing where stderr is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=label, unit=f" {unit}s", disable=None, smoothing=0.1, dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def document(command: str, result: Any, failures: Iterable[Any] = (), ok: bool = True) -> str:
    """The JSON document of a command: schema, ok, result, failures."""
    plain = {
        "schema": f"srcache.{command}/1",
        "ok": ok,
        "result": _plain(result),
        "failures": [_plain(failure) for failure in failures],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)


def error_document(command: str, message: str, kind: str, code: int) -> str:
    """The JSON document of a command that could not do its work."""
    plain = {
        "schema": f"srcache.{command}/1",
        "ok": False,
        "result": None,
        "failures": [],
        "error": {"kind": kind, "message": message, "exit_code": code},
    }
    return json.dumps(plain, indent=2, ensure_ascii=False)


def table(rows: Sequence[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Aligned columns: numbers to the right, texts to the left."""
    lines = [[_cell(cell) for cell in row] for row in ([headers, *rows] if headers else rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    right = [all(isinstance(row[column], int | float) for row in rows) and bool(rows) for column in range(len(widths))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if align else cell.ljust(width)
            for cell, width, align in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def failure_lines(failures: Sequence[Any], most: int = 10) -> str:
    """The first few failures, one a line, and how many more there are."""
    return _first([f"{failure.reason}: {failure.source}: {failure.detail}" for failure in failures], most)


def finding_lines(findings: Sequence[Any], most: int = 10) -> str:
    """The first few things that are damaged, one a line, and how many more there are."""
    return _first([f"{one.reason}: {one.name or one.source}: {one.detail}" for one in findings], most)


def _first(lines: Sequence[str], most: int) -> str:
    shown = [f"  {line}" for line in lines[:most]]
    return "\n".join(shown if len(lines) <= most else [*shown, f"  … and {len(lines) - most} more (--json lists all)"])


def _read_config(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    """Take a command's options from a YAML file; every unknown key is named at once."""
    if path is None:
        return
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of option names to values")
    known = _option_names(context.command)
    values = {str(key).replace("_", "-"): _as_words(value) for key, value in values.items()}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{path} has unknown options {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    context.default_map = {**(context.default_map or {}), **{known[key]: value for key, value in values.items()}}


def _as_words(value: Any) -> Any:
    """A mapping as people would write it on the command line: `set: {scale: 2}` → scale=2."""
    if not isinstance(value, dict):
        return value
    return [f"{name}={json.dumps(inner)}" for name, inner in value.items()]


def _option_names(command: click.Command) -> dict[str, str]:
    """Option names as people write them (without dashes), and arguments in lower case → parameter names."""
    names: dict[str, str] = {}
    for parameter in command.params:
        for text in parameter.opts:
            if parameter.name and parameter.name not in ("config", "as_json"):
                names[text.lstrip("-").lower().replace("_", "-")] = parameter.name
    return names


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else str(value)
    return str(value)


def _plain(value: Any) -> Any:
    """Plain JSON values; a number that JSON cannot hold becomes null beside a `…_reason`."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        plain = {str(key): _plain(inner) for key, inner in value.items()}
        reasons = {
            f"{key}_reason": "undefined" if math.isnan(inner) else "infinite"
            for key, inner in value.items()
            if isinstance(inner, float) and not math.isfinite(inner)
        }
        return {**plain, **reasons}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
