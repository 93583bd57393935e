"""`srcache train`: train a classifier on LR, HR, SR, bicubic or a mixture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import duration, percent

from . import completing
from .options import EXISTING_CACHE, FOLDER, SOURCE, Place, common, log_option, set_option
from .output import attributes, document, echo, note, table, treatment_lines
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.catalog.treated import Treatment
    from srcache.study.arms import ArmDataset, ArmSets
    from srcache.study.train import EpochLine, TrainRun
    from srcache.study.train.settings import TrainSettings


@click.command("train", short_help="Train a classifier on LR, HR, SR, bicubic or a mixture.")
@click.option("--lr", type=SOURCE, help="LR training images: class folders, or a CSV file.")
@click.option("--hr", type=SOURCE, help="HR training images, paired with LR by name.")
@click.option("--cache", type=EXISTING_CACHE, help="The cache with the SR images.")
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    shell_complete=completing.recipes,
    help="Which SR images of the cache; also the size of `bicubic`.",
)
@click.option(
    "--arm",
    required=True,
    metavar="lr|hr|sr|bicubic|POLICY",
    shell_complete=completing.arms,
    help="What to train on.",
)
@click.option("--validation", required=True, metavar="DIR|SHARE", help="Validation images, or a share such as 0.2.")
@click.option("--validation-hr", type=SOURCE, help="Their HR images, for arms that need them.")
@click.option("--test", type=SOURCE, help="Test images, used once, at the end.")
@click.option("--test-hr", type=SOURCE, help="Their HR images, for arms that need them.")
@click.option("--out", required=True, type=FOLDER, help="The run's folder.")
@set_option("A setting, such as network=thesis-lr or epochs=120; repeatable.")
@click.option(
    "--split-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the split, if --validation is a SHARE.",
)
@click.option("--replace", is_flag=True, help="Replace a training with other data or settings that OUT holds.")
@log_option
@common
def command(
    lr: Path | None,
    hr: Path | None,
    cache: Place | None,
    recipe: str | None,
    arm: str,
    validation: str,
    validation_hr: Path | None,
    test: Path | None,
    test_hr: Path | None,
    out: Path,
    changes: dict[str, Any],
    split_seed: int,
    replace: bool,
    curves: tuple[str, ...],
    as_json: bool,
) -> int:
    """Train a classifier into the folder OUT, and keep the best epoch's weights.

    The setting `monitor` decides which epoch is best: val_loss (the default), val_accuracy, or last. Validation and
    test images belong to the same arm as training images; DIR is laid out like --lr (like --hr, if there is no --lr).
    The same command resumes a training that was killed; one that is finished is not repeated. All images are read
    before the first epoch: if some cannot be used, all of them are listed, and nothing is trained.

    \b
    srcache train --lr lr/train --validation lr/validation --arm lr --out runs/lr --set network=thesis-lr
    srcache train --lr lr --cache cache --recipe seesr --arm sr --validation 0.2 --out runs/sr --set epochs=30
    """
    from srcache.study.train import read_settings
    from srcache.study.train.curves import require_curves

    settings = read_settings(changes)
    require_curves(curves)
    sources = _Sources(
        lr=lr,
        hr=hr,
        cache=cache,
        recipe=recipe,
        arm=arm,
        validation=validation,
        validation_hr=validation_hr,
        test=test,
        test_hr=test_hr,
        split_seed=split_seed,
    )
    sets = _open_sets(sources, settings.seed)

    treated = _treated(sources)
    if not as_json:
        note(_balance({name: data.balance for name, data in sets.named.items()}))
        treatment_lines(treated)
    _check(sets, out, settings.epochs)
    run = _train(sets, out, settings, curves, replace=replace, said=not as_json)
    echo(document("train", {**_result(run), "treated": treated.plain()}) if as_json else _text(run))
    return 0


def _train(
    sets: "ArmSets", out: Path, settings: "TrainSettings", curves: tuple[str, ...], *, replace: bool, said: bool
) -> "TrainRun":
    """Train, with a line for each epoch where it is said, and curves where they are asked for."""
    from srcache.study.train import train_run
    from srcache.study.train.curves import open_curves

    def show_epoch(line: "EpochLine") -> None:
        written.epoch_over()
        if said:
            note(_line(line, settings.epochs))

    about = {"trained on": sets.train.arm, **settings.plain()}
    with progress_bar("train", "step") as show, open_curves(curves, out, about) as written:
        run = train_run(sets, out, settings, show, show_epoch, replace=replace)
        written.finish(run)
    return run


def _check(sets: "ArmSets", out: Path, epochs: int) -> None:
    """Read all images once before a training begins, so that it does not end hours later at one that is damaged."""
    from srcache.study.arms import require_usable
    from srcache.study.train.runs import RECORD

    if not (out / RECORD).exists():
        with progress_bar("check") as show:
            require_usable(sets, epochs, show)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """The images of a training, and the arm that is made of them: the options of the same names."""

    lr: Path | None
    hr: Path | None
    cache: Place | None
    recipe: str | None
    arm: str
    validation: str
    validation_hr: Path | None
    test: Path | None
    test_hr: Path | None
    split_seed: int


def _open_sets(sources: _Sources, seed: int) -> "ArmSets":
    """Training, validation and test set of one arm; `seed` chooses the variants of a policy."""
    from srcache.study.arms import ArmSets, arm_from_folder, split_share

    def open_arm(base: Path, hr: Path | None) -> "ArmDataset":
        return arm_from_folder(sources.arm, base, hr=hr, cache=sources.cache, recipe=sources.recipe, seed=seed)

    base, pairs = (sources.lr, sources.hr) if sources.lr is not None else (sources.hr, None)
    if base is None:
        raise click.UsageError("give training images: --lr, --hr or both")
    train = open_arm(base, pairs)
    share = _share(sources.validation)
    if share is not None:
        train, validation = split_share(train, share, sources.split_seed)
    else:
        validation = open_arm(Path(sources.validation), sources.validation_hr)
    test = open_arm(sources.test, sources.test_hr) if sources.test else None
    return ArmSets(train=train, validation=validation, test=test)


def _treated(sources: _Sources) -> "Treatment":
    """What is done to the images of a training, as their headers say."""
    from srcache.catalog import scan
    from srcache.catalog.treated import by_headers

    validation = None if _share(sources.validation) is not None else Path(sources.validation)
    given = (sources.lr, sources.hr, validation, sources.validation_hr, sources.test, sources.test_hr)
    return by_headers(scan(path) for path in dict.fromkeys(given) if path is not None)


def _share(text: str) -> float | None:
    """A share such as 0.2; None for a folder."""
    if Path(text).exists():
        return None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a folder, or a share such as 0.2, but there is no {text!r}", param_hint="--validation"
        ) from None


def _line(line: "EpochLine", epochs: int) -> str:
    return (
        f"epoch {line.epoch:3d} of {epochs}: loss {line.loss:.4f}, {percent(line.train_accuracy)} right; "
        f"validation loss {line.val_loss:.4f}, {percent(line.val_accuracy)} right; {duration(line.seconds)}"
    )


def _balance(balance: Mapping[str, Mapping[str, int]]) -> str:
    """How many images of each class the sets have."""
    classes = list(balance["train"])
    rows = [(name, *(counts.get(one, 0) for one in classes), sum(counts.values())) for name, counts in balance.items()]
    return table(rows, ("images", *classes, "all"))


def _result(run: "TrainRun") -> dict[str, Any]:
    names = (
        *("folder", "arm", "classes", "best_epoch", "metrics", "balance", "device", "seconds", "stopped", "reused"),
        *("weights", "inputs", "versions"),
    )
    return {
        **attributes(run, *names),
        "network": run.settings.network,
        "seed": run.settings.seed,
        "epochs": len(run.history),
    }


def _text(run: "TrainRun") -> str:
    rows: list[tuple[str, object]] = [
        ("best epoch", f"{run.best_epoch} of {len(run.history)} (by {run.settings.monitor})"),
        *((name.replace("_", " "), f"{value:.4f}") for name, value in run.metrics.items()),
        ("time", duration(run.seconds)),
    ]
    if run.stopped:
        rows.append(("stopped early", f"no better epoch for {run.settings.patience}"))
    head = f"{run.folder} (trained before, from the same data and settings)" if run.reused else str(run.folder)
    return f"{head}\n{table(rows)}"
