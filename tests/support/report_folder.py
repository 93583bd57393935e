"""A made-up experiment folder, as `srcache experiment` leaves it: small images, and a results.json that fits them.

The counts, the tests and the grid come from made-up predictions by closed forms, so that every number can be followed.
"""

import json
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np

from srcache.files import write_atomic
from srcache.images import Pixels, encode, resize

ARMS = ("lr", "bicubic", "sr", "hr")
CLASSES = ("grass", "gravel", "brick")
SKILL = {"lr": 0.66, "bicubic": 0.68, "sr": 0.78, "hr": 0.86}


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What the study is to be like. `codec` and `size` are those of HR and SR; LR has a quarter of the size."""

    count: int = 36
    size: int = 48
    classes: tuple[str, ...] = CLASSES
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 12
    names: tuple[str, ...] = ()
    codec: str = "png"
    safe_csv: bool = True


def make_study(out: Path, settings: StudySettings | None = None) -> dict:
    """Write images and results.json into `out`; the results as they were written."""
    settings = settings or StudySettings()
    rng = np.random.default_rng(7)
    labels = [settings.classes[at % len(settings.classes)] for at in range(settings.count)]
    names = [*settings.names, *(f"{at % len(settings.classes)}/p{at:04}" for at in range(settings.count))][
        : settings.count
    ]
    said = {arm: _predictions(labels, settings.classes, SKILL[arm], rng) for arm in ARMS}
    images = [_image(out, at, names[at], labels[at], said, settings) for at in range(settings.count)]
    results = {
        "schema": "srcache.experiment/1",
        "complete": True,
        "name": "textures",
        "question": "Does training on super-resolved images distinguish textures better than training on small ones?",
        "verdict": f"Over {len(settings.seeds)} seeds, no difference is shown.",
        "seconds": 312.4,
        "commands": ["make setup", "srcache experiment quickstart --out OUT", "srcache report OUT"],
        "config": _config(settings),
        "versions": {"srcache": "0.1.0", "python": "3.11.7", "torch": "2.14.1"},
        "machine": "Linux, 2 cores, no accelerator",
        "data": _data(settings),
        "recipe": {
            "name": "compact",
            "folder": "compact-1a2b3c4d5e6f7890",
            "fingerprint": "1a2b3c4d5e6f7890",
            "yaml": "engine: compact\nscale: 4\nseed: 0\n",
        },
        "cache": {"wanted": 90, "stored": 89, "failed": {"truncated": 1}, "seconds": 8.2},
        "arms": [_arm(arm, at, settings, said, labels) for at, arm in enumerate(ARMS)],
        "quality": {kind: _quality(kind, images) for kind in ("bicubic", "sr")},
        "compare": _compare(names, labels, said, settings.classes),
        "seeds": _seeds(names, labels, said, settings),
        "grid": _grid(),
        "sweeps": [_sweep(settings, over) for over in ("share", "per_class")],
        "safety": _safety(out, images, settings),
        "images": images,
    }
    write_atomic(out / "results.json", json.dumps(results))
    return results


def _config(settings):
    train = {"epochs": settings.epochs}
    return {"name": "quickstart", "arms": list(ARMS), "seeds": list(settings.seeds), "train": train}


def texture(at: int, size: int) -> Pixels:
    """An image of stripes and grain that differs from image to image."""
    rng = np.random.default_rng(at)
    rows, columns = np.mgrid[:size, :size] / size
    angle, pace = rng.uniform(0, np.pi), rng.uniform(3, 9)
    wave = np.sin(2 * np.pi * pace * (rows * np.sin(angle) + columns * np.cos(angle)))
    base = rng.uniform(60, 190, 3)
    grain = rng.normal(0, 9, (size, size, 1))
    return np.clip(base + 45 * wave[..., None] + grain, 0, 255).astype(np.uint8)


def _image(out, at, name, label, said, settings):
    hr = texture(at, settings.size)
    low = max(2, settings.size // 4)
    lr = resize(hr, (low, low), "bicubic")
    bicubic = resize(lr, (settings.size, settings.size), "bicubic")
    sr = (0.6 * hr + 0.4 * bicubic).astype(np.uint8)
    row = {"name": name, "label": label}
    suffix = settings.codec.partition(":")[0]
    for kind, pixels in {"lr": lr, "bicubic": bicubic, "sr": sr, "hr": hr}.items():
        row[kind] = f"pictures/{kind}/p{at:04}.{suffix}"
        (out / row[kind]).parent.mkdir(parents=True, exist_ok=True)
        (out / row[kind]).write_bytes(encode(pixels, settings.codec))
    row["quality"] = {kind: _scores(pixels, hr) for kind, pixels in (("sr", sr), ("bicubic", bicubic))}
    row["safe"] = round(0.5 + 0.5 * ((at * 37) % 100) / 100, 3) if at % 9 else 0.31
    row["predictions"] = {arm: {"label": said[arm][at], "right": said[arm][at] == label} for arm in ARMS}
    return row


def _scores(pixels, hr):
    error = np.mean((pixels.astype(float) - hr) ** 2)
    return {"psnr": round(float(10 * np.log10(255**2 / error)), 3), "ssim": round(float(1 / (1 + error / 400)), 4)}


def _predictions(labels, classes, skill, rng):
    return [
        label
        if rng.random() < skill
        else classes[(classes.index(label) + 1 + int(rng.integers(0, len(classes) - 1))) % len(classes)]
        for label in labels
    ]


def _data(settings):
    each = {one: settings.count // len(settings.classes) for one in settings.classes}
    test = {one: sum(1 for at in range(settings.count) if at % len(each) == place) for place, one in enumerate(each)}
    return {
        "classes": list(settings.classes),
        "counts": {"train": {one: 4 * count for one, count in each.items()}, "validation": each, "test": test},
        "digests": {"hr": {"train": "aa" * 16, "test": "bb" * 16}, "lr": {"train": "cc" * 16}},
        "near_duplicates": {"distance": 4, "count": 0, "pairs": []},
        "samples_note": "Grey patches of textures that are in the public domain.",
    }


def _arm(arm, at, settings, said, labels):
    accuracy = np.mean([one == label for one, label in zip(said[arm], labels, strict=True)])
    per_seed = [round(float(np.clip(accuracy + 0.02 * (seed - 1), 0, 1)), 4) for seed in range(len(settings.seeds))]
    return {
        "name": arm,
        "domain": arm,
        "network": "small CNN",
        "seeds": list(settings.seeds),
        "runs": [f"runs/{arm}/{seed}" for seed in settings.seeds],
        "accuracy": per_seed,
        "weights": [f"{at}{seed}" * 32 for seed in settings.seeds],
        "best_epoch": [7 + at for _ in settings.seeds],
        "history": [
            [
                {
                    "epoch": epoch,
                    "loss": round(1.1 * 0.86**epoch + 0.01 * seed, 4),
                    "train_accuracy": round(0.97 - 0.5 * 0.8**epoch, 4),
                    "val_loss": round(1.0 * 0.9**epoch + 0.2 + 0.02 * seed, 4),
                    "val_accuracy": round(SKILL[arm] - 0.4 * 0.75**epoch + 0.01 * seed, 4),
                }
                for epoch in range(1, settings.epochs + 1)
            ]
            for seed in range(len(settings.seeds))
        ],
    }


def _quality(kind, images):
    metrics = {}
    for metric in ("psnr", "ssim"):
        values = {row["name"]: row["quality"][kind][metric] for row in images}
        order = sorted(values, key=values.get)
        mean = float(np.mean(list(values.values())))
        metrics[metric] = {
            "mean": round(mean, 4),
            "interval": [round(mean * 0.98, 4), round(mean * 1.02, 4)],
            "better": "higher",
            "worst": [{"name": name, "value": values[name]} for name in order[:3]],
            "best": [{"name": name, "value": values[name]} for name in order[:-4:-1]],
            "convention": {"channels": "RGB", "data_range": 255, "border": 0, "library": "scikit-image 0.26.0"},
        }
    return {"schema": "srcache.quality/1", "metrics": metrics, "skipped": [], "failures": []}


def mid_p(b: int, c: int) -> float:
    """McNemar's mid-p by its definition."""
    if b == c:
        return 1.0
    n, least = b + c, min(b, c)
    tail = sum(comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, 2 * tail - comb(n, least) / 2**n)


def _right(said, labels):
    return {arm: [one == label for one, label in zip(said[arm], labels, strict=True)] for arm in ARMS}


def _pair(first, second, names, right):
    answers = list(zip(names, right[first], right[second], strict=True))
    b = [name for name, one, other in answers if one and not other]
    c = [name for name, one, other in answers if other and not one]
    both = sum(one and other for _, one, other in answers)
    difference = (len(b) - len(c)) / len(names)
    value = {"value": difference, "low": difference - 0.2, "high": difference + 0.2}
    return {
        "first": first,
        "second": second,
        "table": {
            "both_right": both,
            "first_only": len(b),
            "second_only": len(c),
            "both_wrong": len(names) - both - len(b) - len(c),
        },
        "names_first_only": b,
        "names_second_only": c,
        "exact": min(1.0, 2 * sum(comb(len(b + c), k) for k in range(min(len(b), len(c)) + 1)) / 2 ** len(b + c)),
        "mid_p": mid_p(len(b), len(c)),
        "chi2": {"statistic": None, "p": None, "df": 1, "reason": "made up"},
        "odds_ratio": {"value": len(b) / max(1, len(c)), "low": 0.2, "high": None},
        "difference": {"newcombe": value, "bootstrap": value},
        "needed": {"discordants": 47, "images": 130},
    }


def _pairs(names, labels, said):
    right = _right(said, labels)
    rows = [_pair(first, second, names, right) for first, second in combinations(ARMS, 2)]
    highest = 0.0
    for rank, row in enumerate(sorted(rows, key=lambda row: row["mid_p"])):
        highest = max(highest, min(1.0, (len(rows) - rank) * row["mid_p"]))
        row["adjusted"] = {"mid_p": highest, "exact": 1.0}
        row["significant"] = highest <= 0.05
    return rows


def _compare(names, labels, said, classes):
    rows = []
    for arm in ARMS:
        answers = list(zip(labels, said[arm], strict=True))
        matrix = [[answers.count((truth, answer)) for answer in classes] for truth in classes]
        right = sum(matrix[at][at] for at in range(len(classes)))
        per_class = [
            {"name": one, "precision": 0.8, "recall": 0.75, "f1": 0.774, "images": sum(matrix[at])}
            for at, one in enumerate(classes)
        ]
        rows.append(
            {
                "name": arm,
                "accuracy": {"value": right / len(labels), "low": 0.6, "high": 0.9},
                "macro": {"precision": 0.8, "recall": 0.75, "f1": 0.774},
                "confusion": matrix,
                "per_class": per_class,
                "roc_auc": {"value": 0.91},
                "calibration": {"ece": 0.043},
            }
        )
    return {
        "schema": "srcache.compare/1",
        "settings": {"alpha": 0.05, "correction": "holm", "test": "mid-p"},
        "verdict": "No difference among lr, bicubic, sr and hr is significant at 0.05 after Holm's correction.",
        "classes": list(classes),
        "classifiers": rows,
        "pairs": _pairs(names, labels, said),
        "cochran_q": {"statistic": 4.7606, "df": 3, "p": 0.0925},
    }


def _seeds(names, labels, said, settings):
    pairs = []
    for row in _pairs(names, labels, said):
        tested = {"b": row["table"]["first_only"], "c": row["table"]["second_only"], "adjusted": row["adjusted"]}
        found = row["difference"]["newcombe"]
        wide = {"value": found["value"], "low": found["low"] - 0.04, "high": found["high"] + 0.04}
        tests = [tested] * len(settings.seeds)
        pairs.append(
            {"first": row["first"], "second": row["second"], "tests": tests, "difference": found, "simultaneous": wide}
        )
    verdict = f"Over {len(settings.seeds)} seeds, no difference is shown."
    return {"seeds": len(settings.seeds), "pairs": pairs, "verdict": verdict}


def _sweep(settings, over):
    """Two curves, of which the second lies higher by more at each value, and parts at the last one alone."""
    values = [0, 50, 100] if over == "share" else [4, 16, "all"]
    curves = [
        {
            "name": name,
            "arm": name.partition(" ")[0],
            "domain": "sr",
            "of": "sr" if over == "share" else None,
            "points": [_sweep_point(settings, value, at, lift) for at, value in enumerate(values)],
        }
        for name, lift in (("mix on bicubic", 0.01), ("mix on sr", 0.06))
    ]
    differences = [
        {
            "first": "mix on sr",
            "second": "mix on bicubic",
            "at": value,
            "against": value,
            "difference": 0.05 * at,
            "low": round(0.05 * at - 0.08, 4),
            "high": round(0.05 * at + 0.08, 4),
            "shown": at == 2,
        }
        for at, value in enumerate(values)
    ]
    return {
        "name": f"by-{over}",
        "over": over,
        "values": values,
        "images": settings.count,
        "seeds": list(settings.seeds),
        "level": 0.95,
        "together": True,
        "curves": curves,
        "differences": differences,
    }


def _sweep_point(settings, value, at, lift):
    mean = round(0.6 + 0.1 * at + lift * at, 4)
    return {
        "value": value,
        "arm": f"mix@{value}",
        "accuracy": [round(mean + 0.01 * (seed - 1), 4) for seed in range(len(settings.seeds))],
        "mean": mean,
        "low": round(mean - 0.06, 4),
        "high": round(mean + 0.05, 4),
        "images_per_class": [96, 96] if value == "all" else [4 * 4**at, 4 * 4**at],
        "best_epoch": [7] * (len(settings.seeds) - 1) + [9],
        "epochs": [9] * len(settings.seeds),
        "monitor": "val_loss",
    }


def _grid():
    table = [[round(SKILL[arm] - 0.08 * abs(at - column), 4) for column in range(4)] for at, arm in enumerate(ARMS)]
    return {"arms": list(ARMS), "domains": list(ARMS), "accuracy": table, "spread": [[0.02] * 4 for _ in ARMS]}


def _safety(out, images, settings):
    filters = []
    for bar in (0.5, 0.7, 0.9):
        removed = [row["name"] for row in images if row["safe"] <= bar]
        filters.append(
            {
                "policy": f"safe>{bar}",
                "kept": len(images) - len(removed),
                "removed": len(removed),
                "removed_names": removed,
            }
        )
    path = "cache/compact-1a2b3c4d5e6f7890/safety.csv"
    if settings.safe_csv:
        lines = ["name,image,key,sample,safe", *(f"x,{at},k,0,{row['safe']}" for at, row in enumerate(images))]
        write_atomic(out / path, "\n".join(lines) + "\n")
    return {"rows": len(images), "csv": path, "filters": filters}
