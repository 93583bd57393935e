"""Options that several commands have, each declared once: `--json`, `--config`, `--recipe`, `--set`, `--device`."""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click
from click.shell_completion import CompletionItem

from srcache.errors import ConfigError
from srcache.files.documents import parse_yaml, short
from srcache.files.regular import read_regular
from srcache.files.system_errors import reading
from srcache.files.urls import checked_url, is_url

from . import completing
from .saying import saying_options

if TYPE_CHECKING:
    from srcache.catalog.parts import Part

Place: TypeAlias = Path | str
"""Where something lies: a path of this machine, or a URL."""


class _Local(click.Path):
    """A path of this machine; a URL would be taken for one, and lose a slash, and no text for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text → path."""
        if value == "":
            self.fail("expected a path, but got an empty text; a dot stands for the current folder", param, ctx)
        if is_url(value):
            self.fail(f"expected a path of this machine, but got a URL ({value.partition('://')[0]}://…)", param, ctx)
        return super().convert(value, param, ctx)


class _Place(click.ParamType[Place]):
    """A path of this machine, or a URL of a folder of objects, which stays text."""

    name = "path|url"

    def __init__(self, path: click.Path) -> None:
        self._path = path

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Text → path or URL."""
        if not is_url(value):
            return Path(os.fsdecode(self._path.convert(value, param, ctx)))
        try:
            return checked_url(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What Tab offers: paths."""
        return self._path.shell_complete(ctx, param, incomplete)


SOURCE = _Local(exists=True, path_type=Path)
"""Images that are there: a folder, class folders, or a CSV file."""

IMAGES = _Place(SOURCE)
"""The same, or a URL of a folder of objects such as s3://bucket/folder."""

EXISTING_FILE = _Local(exists=True, dir_okay=False, path_type=Path)
"""One file that is there."""

EXISTING_FOLDER = _Local(exists=True, file_okay=False, path_type=Path)
"""A folder that is there."""

FOLDER = _Local(file_okay=False, path_type=Path)
"""A folder that is written to, or of which the command itself says what is wrong with it."""

FILE = _Local(dir_okay=False, path_type=Path)
"""A file that is written."""

PLACE = _Local(path_type=Path)
"""A file or a folder, of which the command itself says what is wrong with it."""

CACHE = _Place(FOLDER)
"""A cache: a folder or a URL, of which the command itself says what is wrong with it."""

EXISTING_CACHE = _Place(EXISTING_FOLDER)
"""A cache in a folder that is there, or below a URL."""


class _Bytes(click.ParamType[int]):
    """A number of bytes such as 1000, 512M or 2G, in binary units."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text → bytes."""
        found = re.fullmatch(r"(\d+)([KMGT]?)i?B?", str(value).strip(), re.IGNORECASE)
        if not found or int(found[1]) < 1:
            self.fail(f"expected a number of bytes, such as 512M, but got {value!r}", param, ctx)
        return int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")


BYTES = _Bytes()
"""A number of bytes, such as 512M."""


class _Part(click.ParamType["Part"]):
    """One of several disjoint parts of the images, such as 0/8."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Part":
        """Text → part."""
        from srcache.catalog.parts import Part

        try:
            return Part.parse(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


PART = _Part()
"""One of several disjoint parts of the images, such as 0/8."""


class _Devices(click.ParamType[tuple[str, ...]]):
    """Devices, separated by commas."""

    name = "DEVICE,DEVICE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Text → devices."""
        found = tuple(word.strip() for word in str(value).split(","))
        if not all(found):
            self.fail(f"expected devices separated by commas, such as cuda:0,cuda:1, but got {value!r}", param, ctx)
        return found


DEVICES = _Devices()
"""Devices, separated by commas, such as cuda:0,cuda:1."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def common(command: _Command) -> _Command:
    """The options of every command: `--json`, `--config`, and how much it says."""
    command = saying_options(command)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout instead of text."),
        click.option(
            "--config",
            type=EXISTING_FILE,
            callback=_read_config,
            is_eager=True,
            expose_value=False,
            help="A YAML file with this command's options; the command line has priority.",
        ),
    ):
        command = option(command)
    return command


def recipe_options(command: _Command) -> _Command:
    """`--recipe` and `--set`, for commands that make SR images or look for them by their recipe."""
    for option in (
        set_option("Change a field of the recipe, such as scale=2 or options.filter=lanczos; repeatable."),
        click.option(
            "--recipe",
            required=True,
            metavar="NAME|FILE",
            shell_complete=completing.recipes,
            help="A shipped recipe's name, or a YAML file.",
        ),
    ):
        command = option(command)
    return command


def recipe_of_cache(words: str) -> Callable[[_Command], _Command]:
    """`--recipe`, for commands that look into a cache: a recipe of it, which completion offers."""
    return click.option("--recipe", metavar="NAME", shell_complete=completing.recipes_of_cache, help=words)


def color_options(command: _Command) -> _Command:
    """`--color-profile` and `--background`, as the recipe's fields of these names, for commands that have no recipe."""
    for option in (
        click.option(
            "--background", help="What lies under transparent parts: white, black or #rrggbb.  [default: white]"
        ),
        click.option(
            "--color-profile",
            type=click.Choice(["ignore", "srgb"]),
            help="Ignore embedded ICC profiles, or convert to sRGB by them.  [default: ignore]",
        ),
    ):
        command = option(command)
    return command


def set_option(help_text: str) -> Callable[[_Command], _Command]:
    """`--set KEY=VALUE`, which a command gets as a mapping `changes`."""
    return click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _context, _option, words: parse_changes(words),
        help=help_text,
    )


def batch_option(command: _Command) -> _Command:
    """`--batch`, how many images an engine gets at once."""
    text = "Images per engine call, whatever their size; if left out, what the engine advises for each size."
    return click.option("--batch", type=click.IntRange(1), help=text)(command)


def device_option(default: str = "auto") -> Callable[[_Command], _Command]:
    """`--device`, where an engine or a network runs."""
    return click.option(
        "--device",
        default=default,
        show_default=True,
        shell_complete=completing.devices,
        help="Where to compute: cpu, cuda, cuda:1, … or auto.",
    )


def service_options(command: _Command) -> _Command:
    """`--service` and how it is reached, for commands that ask an SR service."""
    for option in (
        click.option(
            "--plain-http",
            is_flag=True,
            help="Send the token over http:// to another machine, where it can be read.",
        ),
        click.option(
            "--service-ca-file", type=EXISTING_FILE, help="Certificates (PEM) that the service's own is checked by."
        ),
        click.option(
            "--service-token-file",
            type=EXISTING_FILE,
            help="The file with the service's token; if left out, the one that SRCACHE_TOKEN_FILE names.",
        ),
        click.option("--service", required=True, metavar="URL", help="The address of an SR service (`srcache serve`)."),
    ):
        command = option(command)
    return command


def log_option(command: _Command) -> _Command:
    """`--log`, where curves of trainings are written to; a command gets it as a tuple `curves`."""
    return click.option(
        "--log",
        "curves",
        multiple=True,
        type=click.Choice(["tensorboard", "wandb"]),
        help="Write curves for TensorBoard or Weights & Biases into each run's folder, too; repeatable.",
    )(command)


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words → a mapping; values are read as YAML, so that 2 is a number.

    Raises:
        BadParameter: a word of another form, or a value that is not YAML.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"expected key=value, such as scale=2, but got {word!r}")
        if value.startswith("#"):  # a colour; YAML would take it for a comment
            changes[key] = value
            continue
        try:
            changes[key] = parse_yaml(value)
        except ValueError as error:
            raise click.BadParameter(f"the value of {key} is not YAML: {short(value)} ({error})") from error
    return changes


def _read_config(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    """Take a command's options from a YAML file; one error names all unknown keys."""
    if path is None:
        return
    values = _mapping(path)
    known = _option_names(context.command)
    given = {str(key).replace("_", "-"): _as_words(value) for key, value in values.items()}
    values = {key: value for key, value in given.items() if value is not None}  # null stands for: not said
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{path} has unknown options {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    listed = {one.name for one in context.command.params if one.multiple or one.nargs != 1}
    found = {known[key]: _given(f"{path}: {key}", value, known[key] in listed) for key, value in values.items()}
    context.default_map = {**(context.default_map or {}), **found}


def _given(what: str, value: Any, is_list: bool) -> Any:
    """An option's value, or the list of them where it may be given several times.

    Raises:
        ConfigError: it is something else.
    """
    each = value if is_list and isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in each):
        wanted = "one value, or a list of them" if is_list else "one value"
        raise ConfigError(f"{what} must be {wanted}, but got {short(value)}")
    return each if is_list else value


def _mapping(path: Path) -> dict[Any, Any]:
    """What a file of options says; a file with comments only, or nothing, changes no option."""
    try:
        with reading(path):
            values = parse_yaml(read_regular(path).decode("utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}); name a file of options") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of option names to values")
    return values


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
