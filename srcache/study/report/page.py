"""One self-contained page from one study or several: head, table of contents, sections.

The page's policy (Content-Security-Policy) allows its own style and script by their SHA-256 and images that are part
of the page, and nothing else: nothing is ever loaded from elsewhere, and a script in a name could not run.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template

from srcache.html.markup import Child, Markup, concat, name, prose, tag, text
from srcache.html.slider import slider_script, slider_style
from srcache.html.tables import definitions, folded
from srcache.html.theme import theme_style
from srcache.study.report.data.copies import BUDGET, MOST, ImageCopies, copy_images
from srcache.study.report.data.curves import study_curves
from srcache.study.report.data.gallery import Gallery, image_files, make_gallery
from srcache.study.report.data.labels import arm_title
from srcache.study.report.data.question import answer
from srcache.study.report.data.study import Study, inside
from srcache.study.report.sections import accuracy, disputed, lineage, quality, significance, sweeps, viewer
from srcache.study.report.sections import answer as answering
from srcache.wording import counted, duration, real

NO_VERDICT = "No verdict: the comparison of the arms is not there."

_Section = tuple[str, str, Callable[[Study, Gallery, ImageCopies], Child]]
"""The word for its element's id, its title, and the function that builds its content; None leaves the section out."""

_SECTIONS: tuple[_Section, ...] = (
    ("sweeps", "Curves", lambda study, shown, copies: sweeps.plots(study)),
    ("compare", "Images, compared", viewer.image_viewer),
    ("accuracy", "Accuracy", lambda study, shown, copies: accuracy.by_arm(study)),
    ("pairs", "Arms against each other", lambda study, shown, copies: significance.pairs_of_arms(study)),
    ("disputed", "Images behind the counts", lambda study, shown, copies: disputed.drill_down(study, shown)),
    ("grid", "Every arm on every kind of image", lambda study, shown, copies: accuracy.grid(study)),
    ("confusion", "Confusion", lambda study, shown, copies: accuracy.confusion(study)),
    ("curves", "Training", lambda study, shown, copies: accuracy.curves(study)),
    ("quality", "Image quality", lambda study, shown, copies: quality.by_metric(study, shown)),
    ("safety", "Label safety", lambda study, shown, copies: quality.safety(study, shown)),
    ("data", "Data", lambda study, shown, copies: lineage.data(study, shown)),
    ("recipe", "Recipe and lineage", lambda study, shown, copies: concat(lineage.recipe(study), lineage.runs(study))),
    ("conventions", "Conventions", lambda study, shown, copies: lineage.conventions(study)),
    ("versions", "Versions", lambda study, shown, copies: lineage.versions(study)),
    ("reproduce", "How to make it again", lambda study, shown, copies: lineage.reproduce(study)),
)


def render_page(studies: Sequence[Study], version: str, budget: int = BUDGET) -> str:
    """The HTML of a page.

    Args:
        studies: have depth 1 if there is one, else 2 and a prefix each.
        version: of srcache, for the footer.
        budget: bytes that the copies of images may have.
    """
    shown = [make_gallery(study, max(1, MOST // len(studies))) for study in studies]
    copies = copy_images(
        {path: study.colors for study, one in zip(studies, shown, strict=True) for path in image_files(study, one)},
        budget,
    )
    bodies = [_article(study, one, copies) for study, one in zip(studies, shown, strict=True)]
    title = studies[0].title if len(studies) == 1 else f"{len(studies)} studies"
    style, script = theme_style() + slider_style() + _part("page.css"), slider_script() + _part("page.js")
    return Template(_part("page.html")).substitute(
        title=text(title),
        policy=text(_policy(style, script)),
        style=style,
        script=script,
        overview=_overview(studies) if len(studies) > 1 else "",
        contents=_contents(studies),
        studies=concat(bodies),
        version=text(version),
    )


@cache
def _part(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    hashes = [f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in (style, script)]
    return (
        f"default-src 'none'; style-src {hashes[0]}; script-src {hashes[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _article(study: Study, shown: Gallery, copies: ImageCopies) -> Markup:
    sections = []
    for word, title, build in _SECTIONS:
        identity, content = study.id(word), build(study, shown, copies)
        heading = study.heading(1, title, id=f"{identity}-title")
        if content is not None:
            sections.append(tag("section", heading, content, id=identity, aria_labelledby=f"{identity}-title"))
    return tag("article", _head(study), sections, class_="study", id=study.id("study"))


def _head(study: Study) -> Markup:
    question, verdict, first_seed = study.word("question"), study.verdict, study.word("compare", "verdict")
    return tag(
        "header",
        study.heading(0, name(study.title)),
        None if study.complete else _incomplete(),
        _newer() if study.newer else None,
        tag("p", question, class_="question", dir="auto") if question else None,
        answering.sentence(study) or tag("p", verdict or NO_VERDICT, class_="verdict", dir="auto"),
        sweeps.sentences(study),
        answering.all_pairs(study),
        answering.cautions(study),
        _in_words(study, verdict, first_seed),
        definitions(_facts(study)),
    )


def _in_words(study: Study, verdict: str, first_seed: str) -> Markup | None:
    """The comparison's own sentences: all pairs over all seeds, and the first seed alone."""
    finding = significance.finding(study)
    lines = [verdict if answer(study) else "", f"{finding}." if finding else ""]
    shown = [tag("p", line, class_="finding", dir="auto") for line in lines if line]
    if first_seed and first_seed != verdict:
        shown.append(tag("p", f"{study.first_seed.capitalize()} alone: {first_seed}", class_="finding", dir="auto"))
    return folded("All pairs in words", shown) if shown else None


def _newer() -> Markup:
    return tag(
        "p",
        tag("strong", "This is the latest complete set."),
        prose(
            " A later run of this experiment was begun and is not finished; the same `srcache experiment` command goes "
            "on where it stopped, and then writes this page anew."
        ),
        class_="warning",
        role="note",
    )


def _incomplete() -> Markup:
    return tag(
        "p",
        tag("strong", "This experiment is incomplete."),
        prose(
            " What is not done yet is missing below; the same `srcache experiment` command goes on where it stopped."
        ),
        class_="warning",
        role="note",
    )


def _facts(study: Study) -> list[tuple[Child, Child]]:
    seeds = max((len(inside(arm, list, "seeds") or []) for arm in study.arms), default=0)
    tested = sum(int(real(count) or 0) for count in study.part("data", "counts", "test").values())
    classes = len(study.rows("data", "classes"))
    return [
        ("Arms", ", ".join(arm_title(str(arm["name"])) for arm in study.arms)),
        ("Seeds", str(seeds) if seeds else None),
        ("Test images", f"{tested} of {counted(classes, 'class')}" if tested and classes else None),
        ("SR by", study.word("recipe", "name")),
        ("Time", duration(study.results.get("seconds")) if real(study.results.get("seconds")) is not None else None),
    ]


def _overview(studies: Sequence[Study]) -> Markup:
    items = [
        tag(
            "li",
            tag("a", name(study.title), href=f"#{study.id('study')}"),
            ": ",
            tag("span", answer(study) or study.verdict or NO_VERDICT, dir="auto"),
        )
        for study in studies
    ]
    return tag("header", tag("h1", f"{len(studies)} studies"), tag("ul", items, class_="overview"))


def _contents(studies: Sequence[Study]) -> Markup:
    lists = []
    for study in studies:
        there = [(word, title) for word, title, _ in _SECTIONS if word != "sweeps" or study_curves(study)]
        items = [tag("li", tag("a", title, href=f"#{study.id(word)}")) for word, title in there]
        above = tag("p", tag("a", name(study.title), href=f"#{study.id('study')}")) if len(studies) > 1 else None
        lists.append(concat(above, tag("ol", items)))
    return concat(lists)
