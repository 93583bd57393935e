"""`srcache quickstart`: the shipped experiment `quickstart`, from embedded images to a report."""

import shlex
from pathlib import Path

import click

from .experiment import run, show_result
from .options import FOLDER, common


@click.command("quickstart", short_help="See it work: a small study on embedded images, with a report.")
@click.option("--out", default="srcache-quickstart", show_default=True, type=FOLDER, help="The folder to write into.")
@common
def command(out: Path, as_json: bool) -> int:
    """Make data, LR copies, an SR cache; train on LR, bicubic, SR, a mixture and HR with three seeds; compare; report.

    Bicubic and the mixture are trained with ordinary augmentation too (torchvision's TrivialAugmentWide). Everything is
    written into one folder. A second run uses what the first one left there.

    \b
    srcache quickstart
    srcache quickstart --out somewhere --json
    """
    from srcache.study.experiment import load_experiment

    commands = [f"srcache quickstart --out {shlex.quote(str(out))}"]
    result = run(load_experiment("quickstart"), out, None, commands, as_json)
    return show_result("quickstart", result, as_json)
