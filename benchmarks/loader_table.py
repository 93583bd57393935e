"""The newest measurements of loaders as a table in benchmarks/README.md and as a plot beside it, from history.csv."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import HISTORY
from srcache.files import write_atomic

README, PLOT = HISTORY.parent / "README.md", HISTORY.parent / "loaders.png"
PAYLOADS = {
    "jpeg": "JPEG 95, the same bytes",
    "lossless": "lossless: PNG or QOI",
    "raw": "raw pixels",
    "mixture": "LR and SR: JPEG and QOI",
    "codec": "codecs, one thread",
}
_BEGIN, _END = "<!-- loaders: begin, written by bench_loaders -->\n", "<!-- loaders: end -->"
_CASE = re.compile(r"(\d+)², (\w+): (.*)")
_OURS = re.compile(r"SRLoader|SRAugmented")

Row = Mapping[str, str]


def write_table(history: Path = HISTORY, readme: Path = README, plot: Path = PLOT) -> None:
    """Replace README's part between its marks, and the plot.

    Raises:
        SystemExit: nothing has been measured, or README lacks the marks.
    """
    rows = newest(history)
    if not rows:
        raise SystemExit(f"{history} has no row of `loaders`; run the benchmark first")
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{readme} lacks the marks between which the table stands: {_BEGIN.strip()} and {_END}")
    write_atomic(readme, before + _BEGIN + markdown(rows) + _END + after)
    draw(rows, plot)


def newest(history: Path) -> list[Row]:
    """The last row of each case, in the order in which cases were measured last."""
    found: dict[str, Row] = {}
    with history.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["bench"] == "loaders" and _CASE.fullmatch(row["case"]):
                found.pop(row["case"], None)
                found[row["case"]] = row
    return list(found.values())


def markdown(rows: Sequence[Row]) -> str:
    """Where it was measured, the rates by payload and size, and the bars."""
    places = sorted({f"{row['date']}, {row['commit']}, {row['machine']}, {row['repeats']} repeats" for row in rows})
    rates, others = _rates(rows), [row for row in rows if row["unit"] != "images/s"]
    sides = sorted({side for _, side in rates})
    lines = ["\n", f"{'; '.join(places)}. Images per second, ± half of max − min.\n", "\n"]
    lines += [f"| loader | {' | '.join(f'{side}²' for side in sides)} |\n", f"|---|{'---|' * len(sides)}\n"]
    for payload, title in PAYLOADS.items():
        names = list(dict.fromkeys(name for found, _ in rates if found == payload for name in rates[found, _]))
        lines += [f"| **{title}** |{' |' * len(sides)}\n"] if names else []
        for name in names:
            cells = [_cell(rates.get((payload, side), {}).get(name)) for side in sides]
            lines.append(f"| {name} | {' | '.join(cells)} |\n")
    if others:
        lines += ["\n", "| case | found | bar | met |\n", "|---|---|---|---|\n"]
    for row in others:
        faster = f" (the fastest: {row['peer']})" if " or " in row["case"] else ""
        found = f"{_number(row['value'])} ± {_number(row['spread'])} {row['unit']}"
        lines.append(
            f"| {row['case']}{faster} | {found} | {row['bar'] or 'none'} | {row['met'] if row['bar'] else ''} |\n"
        )
    return "".join([*lines, "\n", "![images per second of each loader](loaders.png)\n", "\n"])


def draw(rows: Sequence[Row], path: Path) -> None:
    """Horizontal bars, a panel per payload and size; ours dark and hatched, so that it reads in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rates = _rates(rows)
    payloads = [payload for payload in list(PAYLOADS)[:3] if any(found == payload for found, _ in rates)]
    sides = sorted({side for _, side in rates})
    heights = [max(len(rates.get((payload, side), {})) for side in sides) for payload in payloads]
    figure, axes = pyplot.subplots(
        len(payloads),
        len(sides),
        squeeze=False,
        figsize=(5.5 * len(sides), 0.34 * sum(heights) + 0.8 * len(payloads)),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for line, payload in zip(axes, payloads, strict=True):
        for panel, side in zip(line, sides, strict=True):
            _draw_panel(panel, f"{side}², {PAYLOADS[payload]}", rates.get((payload, side), {}))
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _draw_panel(panel: Any, title: str, rates: Mapping[str, Row]) -> None:
    ordered = sorted(rates.items(), key=lambda item: float(item[1]["value"]))
    values = [float(row["value"]) for _, row in ordered]
    bars = panel.barh(
        [name.replace("`", "") for name, _ in ordered], values, color="0.75", edgecolor="black", linewidth=0.6
    )
    for bar, (name, _) in zip(bars, ordered, strict=True):
        if _OURS.search(name):
            bar.set(facecolor="0.35", hatch="//")
    panel.errorbar(
        values,
        range(len(values)),
        xerr=[float(row["spread"]) for _, row in ordered],
        fmt="none",
        ecolor="black",
        capsize=2,
    )
    for place, (value, (_, row)) in enumerate(zip(values, ordered, strict=True)):
        panel.text(value + float(row["spread"]), place, f" {value:,.0f}", va="center", fontsize=8)
    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel("images/s", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.margins(x=0.15)
    panel.spines[["top", "right"]].set_visible(False)


def _rates(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, Row]]:
    """Rows of rates by payload and side, then by loader."""
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        case = _CASE.fullmatch(row["case"])
        if row["unit"] == "images/s" and case is not None:
            found.setdefault((case[2], int(case[1])), {})[case[3]] = row
    return found


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{float(row['value']):,.0f} ± {float(row['spread']):,.0f}"


def _number(text: str) -> str:
    return f"{float(text):.3g}"
