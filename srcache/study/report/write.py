"""Write the report of an experiment folder, or of several on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srcache.errors import ConfigError
from srcache.files import write_atomic
from srcache.study.report.data.question import answer
from srcache.study.report.data.study import Study, read_results
from srcache.study.report.page import render_page

REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """What was written: the file, its bytes, and of each study its title, completeness, answer and verdict."""

    path: Path
    bytes: int
    studies: tuple[dict[str, Any], ...]


def write_report(out: Path | Sequence[Path], target: Path | None = None) -> Path:
    """Write the report of an experiment folder, or of several on one page.

    Args:
        out: the folder that `srcache experiment` wrote, or several.
        target: the file; OUT/report.html where there is one folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: no results.json, one of another version, or several folders and no target.
        DiskFullError: no room, or no permission.
    """
    return summarise(out, target).path


def summarise(out: Path | Sequence[Path], target: Path | None = None) -> ReportSummary:
    """Like `write_report`, and say what is in it."""
    folders = [out] if isinstance(out, Path) else list(out)
    if not folders:
        raise ConfigError("expected an experiment folder, but got none")
    if target is None and len(folders) > 1:
        raise ConfigError(
            f"a report of {len(folders)} experiments belongs to none of their folders; say where: --out FILE"
        )
    path = target or folders[0] / REPORT
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; --out must name a file, such as {path / REPORT}")
    studies = _studies(folders)
    html = render_page(studies, version("srcache"))
    write_atomic(path, html)
    described = tuple(
        {
            "title": study.title,
            "complete": study.complete,
            "answer": answer(study) or None,
            "verdict": study.verdict or None,
        }
        for study in studies
    )
    return ReportSummary(path=path, bytes=len(html.encode()), studies=described)


def _studies(folders: Sequence[Path]) -> list[Study]:
    many = len(folders) > 1
    return [
        Study(results=read_results(folder), root=folder, prefix=f"s{at}-" if many else "", depth=2 if many else 1)
        for at, folder in enumerate(folders, 1)
    ]
