"""The viewer of images: a slider of LR | SR | HR with controls that choose the image, and the data for the script.

Without a script the controls would do nothing, so they are hidden until the page's script shows them. The bytes of the
images are data beside the page's text, and become elements only when they are shown.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from srcache.html.markup import Markup, concat, json_block, tag
from srcache.html.slider import stage
from srcache.html.tables import folded, missing
from srcache.study.report.data.copies import ImageCopies
from srcache.study.report.data.gallery import KINDS, Gallery, answer, figures, lost_files, mixed_order
from srcache.study.report.data.labels import arm_title, metric_name, score
from srcache.study.report.data.study import Study
from srcache.study.report.sections.disputed import disputed_sets
from srcache.wording import counted, real

_ORDERS = (
    *("In dispute first, classes mixed", "As listed"),
    *("SR quality, worst first", "SR quality, best first", "Least safe first"),
)
_ZOOMS = (("out", "−", "Zoom out"), ("in", "+", "Zoom in"), ("whole", "Fit", "Fit: the whole image"))


def image_viewer(study: Study, shown: Gallery, copies: ImageCopies) -> Markup:
    """The section's content: what is shown, the controls, the stage, and the data for the script."""
    if not shown.rows:
        return missing("images", "`srcache experiment` lists them in results.json when it is complete.")
    kinds = _kinds(study, shown, copies)
    if not kinds:
        return concat(missing("images; their files are not in the folder"), _lost_list(study, shown, copies))
    return concat(
        tag("p", _introduction(study, shown, copies)),
        tag("p", "The viewer needs JavaScript, which does not run here; all else does without.", class_="still"),
        tag(
            "div",
            _filters(study, shown),
            _figure(study, kinds),
            tag("p", class_="count", role="status", id=study.id("count")),
            tag("ul", class_="strip", aria_label="Images to choose from"),
            tag(
                "div", _buttons("page", (("earlier", "Previous 24", None), ("later", "Next 24", None))), class_="paging"
            ),
            class_="viewer",
            id=study.id("viewer"),
            tabindex="-1",
            hidden=True,
            data_study=study.id("pictures"),
        ),
        _lost_list(study, shown, copies),
        json_block(study.id("pictures"), _data(study, shown, copies, kinds)),
    )


def _kinds(study: Study, shown: Gallery, copies: ImageCopies) -> list[str]:
    return [
        kind
        for kind in KINDS
        if any(copies.by_file.get(path) for row in shown.rows if (path := study.file(row.get(kind))))
    ]


def _introduction(study: Study, shown: Gallery, copies: ImageCopies) -> str:
    every, here = len(shown.every), len(shown.rows)
    which = counted(here, "image") if here == every else f"{here} of {every} images, those in dispute first"
    return (
        f"{which[:1].upper()}{which[1:]}: {copies.reduction.describe()}. All figures were measured on the originals. "
        f"Answers are those of {study.first_seed}. Drag the two borders, or move them with the arrow keys; plus and "
        "minus zoom; a zoomed image can be moved."
    )


def _filters(study: Study, shown: Gallery) -> Markup:
    classes = sorted({str(row.get("label")) for row in shown.rows if row.get("label") is not None})
    arms = [str(arm["name"]) for arm in study.arms if any(answer(row, str(arm["name"])) for row in shown.rows)]
    sets = [words for words, _ in disputed_sets(study, shown)]
    choices: list[tuple[str, str, Sequence[str]]] = [
        ("set", "Images", ["All", *sets]),
        ("class", "True class", ["Every class", *classes]),
        ("arm", "Arm", [arm_title(arm) for arm in arms] or ["None"]),
        ("right", "Its answer", ["Right or wrong", "Right", "Wrong"]),
        ("order", "Order", _ORDERS),
    ]
    return tag("div", [_select(study, *choice) for choice in choices], class_="filters")


def _select(study: Study, key: str, label: str, options: Sequence[str]) -> Markup:
    identity = study.id(f"choose-{key}")
    inner = [tag("option", words, value=at, dir="auto") for at, words in enumerate(options)]
    return tag(
        "div",
        tag("label", label, for_=identity),
        tag("select", inner, id=identity, data_choose=key, autocomplete="off"),
    )


def _figure(study: Study, kinds: Sequence[str]) -> Markup:
    left = [kind for kind in kinds if kind in ("lr", "bicubic")]
    choice = _select(study, "left", "At the left", [KINDS[kind] for kind in left]) if len(left) > 1 else None
    return tag(
        "figure",
        tag(
            "div",
            _buttons("step", (("back", "← Previous", None), ("on", "Next →", None))),
            _buttons("zoom", _ZOOMS),
            tag("button", "Side by side", type="button", aria_pressed="false", data_beside=True),
            choice,
            class_="tools",
        ),
        stage(),
        tag("div", class_="beside", hidden=True),
        tag("figcaption", tag("p", class_="name", aria_live="polite"), tag("dl", class_="facts")),
    )


def _buttons(group: str, buttons: Sequence[tuple[str, str, str | None]]) -> Markup:
    inner = [
        tag("button", words, type="button", aria_label=label, **{f"data_{group}": key}) for key, words, label in buttons
    ]
    return tag("div", inner, class_="buttons", role="group", aria_label=group.capitalize())


def _lost_list(study: Study, shown: Gallery, copies: ImageCopies) -> Markup | None:
    problems = lost_files(study, shown, copies)
    if not problems:
        return None
    return folded(
        f"{counted(len(problems), 'file')} could not be shown", tag("ul", [tag("li", one) for one in problems])
    )


def _data(study: Study, shown: Gallery, copies: ImageCopies, kinds: Sequence[str]) -> dict[str, Any]:
    arms = [str(arm["name"]) for arm in study.arms]
    used = [arm for arm in arms if any(answer(row, arm) for row in shown.rows)]
    return {
        "kinds": {kind: KINDS[kind] for kind in kinds},
        "arms": [arm_title(arm) for arm in used],
        "sets": [places for _, places in disputed_sets(study, shown)],
        "mixed": mixed_order(study, shown),
        "pictures": [_image(study, row, copies, used) for row in shown.rows],
    }


def _image(study: Study, row: Mapping[str, Any], copies: ImageCopies, arms: Sequence[str]) -> dict[str, Any]:
    plain = dict(row)
    found = {
        kind: copies.by_file[path]
        for kind in KINDS
        if (path := study.file(row.get(kind))) is not None and path in copies.by_file
    }
    measured = figures(plain)
    sr = {metric: value for kind, metric, value in measured if kind == "sr"}
    return {
        "name": row["name"],
        "label": None if row.get("label") is None else str(row["label"]),
        "safe": real(row.get("safe")),
        "rank": next((sr[metric] for metric in ("psnr", "psnr_y", "ssim", "ssim_y") if metric in sr), None),
        "figures": [[f"{KINDS[kind]} {metric_name(metric)}", score(metric, value)] for kind, metric, value in measured],
        "answers": [answer(plain, arm) for arm in arms],
        "images": {
            kind: {"src": f"data:{copy.mime};base64,{b64encode(copy.data).decode()}", "size": [copy.width, copy.height]}
            for kind, copy in found.items()
        },
    }
