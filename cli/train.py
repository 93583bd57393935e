"""`srcache train`: train a classifier on LR, HR, SR, bicubic or a mixture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import duration

from .output import common, document, progress, set_option, table

if TYPE_CHECKING:
    from srcache.study.arms.arms import ArmDataset
    from srcache.study.train.runs import EpochLine, TrainRun

_FOLDER = click.Path(exists=True, path_type=Path)


@click.command("train", short_help="Train a classifier on LR, HR, SR, bicubic or a mixture; goes on where it stopped.")
@click.option("--lr", type=_FOLDER, help="LR training pictures: class folders, or a CSV file.")
@click.option("--hr", type=_FOLDER, help="HR training pictures, paired with LR by name.")
@click.option("--cache", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where SR pictures lie.")
@click.option("--recipe", metavar="NAME|FILE", help="Which SR pictures of the cache; how large `bicubic` is.")
@click.option("--arm", required=True, metavar="lr|hr|sr|bicubic|POLICY", help="What to train on.")
@click.option("--validation", required=True, metavar="DIR|SHARE", help="Validation pictures, or a share such as 0.2.")
@click.option("--validation-hr", type=_FOLDER, help="Their HR pictures, for arms that need them.")
@click.option("--test", type=_FOLDER, help="Test pictures, looked at once, at the end.")
@click.option("--test-hr", type=_FOLDER, help="Their HR pictures, for arms that need them.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The run's folder.")
@set_option("A setting, such as network=thesis-lr or epochs=120; repeatable.")
@click.option("--split-seed", type=click.IntRange(0), default=0, show_default=True, help="Of a SHARE for validation.")
@click.option("--replace", is_flag=True, help="Train anew where OUT holds a training of other data or settings.")
@common
def command(
    lr: Path | None,
    hr: Path | None,
    changes: dict[str, Any],
    out: Path,
    replace: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Train a classifier into the folder OUT, and keep the best epoch's weights.

    The best epoch is told by the setting `monitor`: val_loss (the default), val_accuracy, or last. Validation and test
    pictures are of the same arm as training's; DIR is laid out like --lr (like --hr, if there is no --lr).
    A training that was killed goes on with the same command; one that is finished is not repeated.

    \b
    srcache train --lr lr/train --validation lr/validation --arm lr --out runs/lr --set network=thesis-lr
    srcache train --lr lr --cache cache --recipe seesr --arm sr --validation 0.2 --out runs/sr --set epochs=30
    """
    from tqdm import tqdm

    from srcache.study.arms.sets import ArmSets
    from srcache.study.train.loop import train_run
    from srcache.study.train.settings import read_settings

    settings = read_settings(changes)
    train, validation, test = _sets(lr, hr, settings.seed, rest)
    sets = ArmSets(train=train, validation=validation, test=test)

    def tell(line: "EpochLine") -> None:
        if not as_json:
            tqdm.write(_line(line, settings.epochs))

    if not as_json:
        click.echo(_balance({name: data.balance for name, data in sets.named.items()}))
    with progress("train", "step") as show:
        run = train_run(sets, out, settings, show, tell, replace=replace)
    click.echo(document("train", _result(run)) if as_json else _text(run))
    return 0


def _sets(
    lr: Path | None, hr: Path | None, seed: int, rest: dict[str, Any]
) -> "tuple[ArmDataset, ArmDataset, ArmDataset | None]":
    from srcache.study.arms.arms import arm_from_folder, split_share

    about = {"cache": rest["cache"], "recipe": rest["recipe"], "seed": seed}
    base, pairs = (lr, hr) if lr is not None else (hr, None)
    if base is None:
        raise click.UsageError("give training pictures: --lr, --hr or both")
    train = arm_from_folder(rest["arm"], base, hr=pairs, **about)
    share = _share(rest["validation"])
    if share is not None:
        train, validation = split_share(train, share, rest["split_seed"])
    else:
        validation = arm_from_folder(rest["arm"], Path(rest["validation"]), hr=rest["validation_hr"], **about)
    test = arm_from_folder(rest["arm"], rest["test"], hr=rest["test_hr"], **about) if rest["test"] else None
    return train, validation, test


def _share(text: str) -> float | None:
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
        f"epoch {line.epoch:3d} of {epochs}: loss {line.loss:.4f}, {line.train_accuracy:.1%} right; "
        f"validation loss {line.val_loss:.4f}, {line.val_accuracy:.1%} right; {duration(line.seconds)}"
    )


def _balance(balance: dict[str, dict[str, int]]) -> str:
    """How many pictures of each class the sets have."""
    classes = list(balance["train"])
    rows = [(name, *(counts.get(one, 0) for one in classes), sum(counts.values())) for name, counts in balance.items()]
    return table(rows, ("pictures", *classes, "all"))


def _result(run: "TrainRun") -> dict[str, Any]:
    names = (
        *("folder", "arm", "classes", "best_epoch", "metrics", "balance", "device", "seconds", "stopped", "reused"),
        *("weights", "inputs", "versions"),
    )
    found = {name: getattr(run, name) for name in names}
    return {**found, "network": run.settings.network, "seed": run.settings.seed, "epochs": len(run.history)}


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
