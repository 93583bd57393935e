"""What a shell's Tab offers for values: recipes, experiments, metrics, bundles of weights, arms and devices.

A shell waits for this at every press, so nothing is imported for it but the names of files: what needs a library to be
known (pyiqa's hundred metrics, engines of other packages) is not offered, and taken all the same.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

METRICS = (
    *("psnr", "ssim", "lpips", "dists", "fid", "niqe", "musiq", "maniqa", "maniqa-pipal", "clipiqa"),
    *("pyiqa:psnry", "pyiqa:ssim"),
)
"""Metrics of image quality that shipped experiments and presets name."""

_ARMS = ("lr", "bicubic", "sr", "hr")
_FOLDER = re.compile(r"(.+)-[0-9a-f]{16}")


def _shipped(folder: str) -> list[str]:
    from srcache.files import shipped_names

    return shipped_names(folder)


def _fitting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _or_file(folder: str) -> Complete:
    """The shipped YAML files of a folder by their names, or a file."""

    def complete(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_fitting(_shipped(folder), incomplete), CompletionItem(incomplete, type="file")]

    return complete


recipes = _or_file("recipes")
"""Shipped recipes, or a file."""

experiments = _or_file("experiments")
"""Shipped experiments, or a file."""


def experiment_names(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped experiments."""
    return _fitting(_shipped("experiments"), incomplete)


def bundles(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Bundles of weights."""
    return _fitting((name for name in _shipped("weights") if name != "sources"), incomplete)


def recipes_of_cache(context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The recipes of the cache that the command line names so far; shipped ones if it names none."""
    given = context.params.get("caches") or [context.params.get("cache")]
    caches = [*(cache for cache in given if isinstance(cache, Path)), *map(Path, context.args)]
    found = {name for cache in caches for name in _recipes_in(cache)}  # a line that is not complete is all `args`
    return _fitting(sorted(found) or _shipped("recipes"), incomplete)


def _recipes_in(cache: Path) -> list[str]:
    try:
        return [found[1] for name in os.listdir(cache) if (found := _FOLDER.fullmatch(name))]
    except OSError:
        return []


def metrics(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Metrics of image quality, separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    used = before.split(",")
    return [CompletionItem(f"{before}{comma}{one.value}") for one in _fitting(METRICS, last) if one.value not in used]


def arms(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a classifier is trained on."""
    return _fitting(_ARMS, incomplete)


def devices(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of devices."""
    return _fitting(("auto", "cpu", "cuda"), incomplete)
