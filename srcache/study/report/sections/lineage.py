"""Where everything comes from: data, recipe, cache, conventions, versions, and the commands that make it again."""

import json
from collections.abc import Sequence

from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import data_table, definitions, folded, framed, missing
from srcache.study.report.data.comparison import rules
from srcache.study.report.data.gallery import Gallery
from srcache.study.report.data.study import Study, inside
from srcache.study.report.sections.quality import conventions as of_quality
from srcache.wording import NOTHING, counted, duration, number, real

_MOST = 200
_SPLITS = ("train", "validation", "test")


def data(study: Study, shown: Gallery) -> Markup:
    """Images by class and split, what is said of the samples, near-duplicates, and the digests of the files."""
    counts = {split: study.part("data", "counts", split) for split in _SPLITS}
    named = [str(one) for one in study.rows("data", "classes")]
    classes = named or list(dict.fromkeys(one for split in counts.values() for one in split))
    if not any(counts.values()):
        return missing("the counts of the data")
    rows: list[list[Child]] = [
        [name(one), *(number(counts[split].get(one, 0), 0) for split in _SPLITS)] for one in classes
    ]
    sums = [sum(int(real(value) or 0) for value in counts[split].values()) for split in _SPLITS]
    rows.append([tag("strong", "All"), *map(str, sums)])
    note = study.word("data", "samples_note")
    return concat(
        tag("p", note, dir="auto") if note else None,
        data_table("Images by class and split", ["Class", "Train", "Validation", "Test"], rows),
        _near_duplicates(study, shown),
        _digests(study),
    )


def _near_duplicates(study: Study, shown: Gallery) -> Markup:
    """Test images that look almost like a training image, each with the nearest."""
    title = study.heading(2, "Near-duplicates", id=study.id("near-duplicates"))
    found = study.part("data", "near_duplicates")
    if not found:
        return concat(title, missing("near-duplicates: this run did not look for them"))
    pairs = study.mappings("data", "near_duplicates", "pairs")
    count, bits = (number(int(real(found.get(key)) or 0)) for key in ("count", "distance"))
    words = (
        f"{count} test images have a training image whose difference hash (64 bits, of a grey thumbnail) is at most "
        f"{bits} bits apart, and whose thumbnail differs little. Mirrored, turned or cropped copies are not found in "
        "this way, and a pair need not show the same thing: look at it."
    )
    rows: list[list[Child]] = []
    for row in pairs[:_MOST]:
        test = str(row.get("test"))
        link: Child = name(test)
        if test in shown.places:
            link = tag("a", link, href=f"#{study.id('viewer')}", data_picture=shown.places[test])
        rows.append([link, name(row.get("train", NOTHING)), number(row.get("distance"))])
    headers = ["Test", "Training", "Bits apart"]
    table = data_table("Test images and their nearest training images", headers, rows, left=2)
    more = tag("p", f"… and {len(pairs) - _MOST} more in results.json.") if len(pairs) > _MOST else None
    shown_pairs = folded(counted(len(pairs), "pair"), table, more) if rows else None
    return concat(title, tag("p", words), shown_pairs)


def recipe(study: Study) -> Markup:
    """What made the SR images, and how the cache was filled."""
    found = study.part("recipe")
    if not found:
        return missing("the recipe")
    cache = study.part("cache")
    failed = inside(cache, dict, "failed") or {}
    reasons = ", ".join(f"{reason} {count}" for reason, count in failed.items())
    stored = cache.get("stored")
    text = study.word("recipe", "yaml")
    return concat(
        definitions(
            [
                ("Recipe", name(found.get("name", NOTHING))),
                ("Fingerprint", tag("code", found.get("fingerprint", NOTHING))),
                ("Folder in the cache", tag("code", found.get("folder", NOTHING))),
                ("SR images", f"{stored} of {cache.get('wanted', '–')}" if stored is not None else None),
                ("Failed", reasons or ("none" if stored is not None else None)),
                ("Time to fill", duration(cache.get("seconds")) if cache.get("seconds") is not None else None),
            ]
        ),
        folded("The recipe in full", _block(text, "The recipe in full")) if text else None,
        None if cache else missing("what filling the cache came to"),
        _further(study),
        _failures(study),
    )


def _further(study: Study) -> Markup | None:
    """The recipes of other arms, such as a control."""
    found = {label: row for label, row in study.part("further").items() if isinstance(row, dict)}
    if not found:
        return None
    rows = [
        [name(label), name(row.get("name", NOTHING)), tag("code", row.get("fingerprint", NOTHING))]
        for label, row in found.items()
    ]
    texts = [
        folded(concat("The recipe ", name(label), " in full"), _block(str(row["yaml"]), f"The recipe {label} in full"))
        for label, row in found.items()
        if row.get("yaml")
    ]
    return concat(data_table("Recipes of other arms", ["Arms", "Recipe", "Fingerprint"], rows, left=3), texts)


def _failures(study: Study) -> Markup | None:
    """Images that a step could not use."""
    lines = [", ".join(f"{key} {value}" for key, value in row.items() if value) for row in study.mappings("failures")]
    if not lines:
        return None
    items = [tag("li", line) for line in lines[:_MOST]]
    items += [tag("li", f"… and {len(lines) - _MOST} more")] if len(lines) > _MOST else []
    return folded(f"{counted(len(lines), 'image')} could not be used", tag("ul", items))


def runs(study: Study) -> Markup:
    """Every trained network: its folder, seed and chosen epoch."""
    rows: list[list[Child]] = []
    for arm in study.arms:
        seeds, paths, best, digests = (
            inside(arm, list, key) or [] for key in ("seeds", "runs", "best_epoch", "weights")
        )
        for at, path in enumerate(paths):
            seed, epoch, digest = (
                str(values[at]) if at < len(values) else NOTHING for values in (seeds, best, digests)
            )
            rows.append(
                [
                    name(arm["name"]),
                    seed,
                    tag("code", path),
                    name(arm.get("network", NOTHING)),
                    epoch,
                    tag("code", digest[:16]),
                ]
            )
    if not rows:
        return missing("the trained networks")
    return data_table("Trained networks", ["Arm", "Seed", "Folder", "Network", "Best epoch", "Weights"], rows, left=6)


def conventions(study: Study) -> Markup:
    """How the numbers were made."""
    decide = rules(study.part("compare"))
    terms: list[tuple[Child, Child]] = [
        ("Accuracy", "share of test images whose answer is the label; intervals of single seeds by Wilson, 95 %"),
        (
            "Two classifiers",
            f"McNemar’s test on the same images; {decide.test} decides (Fagerland, Lydersen and Laake, 2013); "
            f"{decide.corrected} over all pairs; significant means p of at most {decide.alpha:g} after correction",
        ),
        ("Several seeds", "a test for each seed, never on added counts; then a bootstrap over images and seeds"),
        ("Difference of accuracies", "first arm minus second, in percentage points; paired interval by Newcombe"),
        ("b + c that would show this effect", "images in dispute with which the test would mostly find this b : c"),
        *of_quality(study),
    ]
    note = None if of_quality(study) else missing("the convention of the image quality")
    return concat(definitions(terms), note)


def versions(study: Study) -> Markup:
    """The software and the machine."""
    found = study.part("versions")
    machine = study.results.get("machine")
    words = machine if isinstance(machine, str) else ", ".join(f"{key} {value}" for key, value in _items(machine))
    if not found and not words:
        return missing("versions of the software and the machine")
    terms: list[tuple[Child, Child]] = [(key, str(value)) for key, value in found.items() if value is not None]
    return definitions([("Machine", words), ("Time", duration(study.results.get("seconds"))), *terms])


def reproduce(study: Study) -> Markup:
    """The commands, and the configuration with every choice spelt out."""
    commands = [str(one) for one in study.rows("commands")]
    config = study.part("config")
    shown = _block("\n".join(commands), "Commands") if commands else missing("the commands")
    text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    return concat(
        shown,
        folded("The configuration in full", _block(text, "The configuration in full"))
        if config
        else missing("the configuration"),
    )


def _items(value: object) -> Sequence[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _digests(study: Study) -> Markup | None:
    found = study.part("data", "digests")
    rows = [[tag("code", key), tag("code", value)] for key, value in _flat(found)]
    return (
        folded(counted(len(rows), "digest"), data_table("Digests of the data", ["Files", "Digest"], rows, left=2))
        if rows
        else None
    )


def _flat(value: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Nested mappings as one: hr/train → digest."""
    found: list[tuple[str, object]] = []
    for key, inner in value.items():
        found += _flat(inner, f"{prefix}{key}/") if isinstance(inner, dict) else [(f"{prefix}{key}", inner)]
    return found


def _block(words: str, label: str) -> Markup:
    return framed(tag("pre", tag("code", words)), label)
