"""`srcache experiment`: a complete study from one configuration, from images to a report."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import NOTHING, counted, duration, of_all, percent

from . import completing
from .experiment_plans import print_check, print_forecast, print_shipped
from .options import FOLDER, common, log_option, set_option
from .output import document, echo, first_lines, note, table

if TYPE_CHECKING:
    from srcache.study.experiment import Experiment, ExperimentResult

_KINDS = {"lr": "LR", "bicubic": "bicubic", "sr": "SR", "hr": "HR"}


@click.command("experiment", short_help="A complete study: arms × seeds, from images to a report.")
@click.argument("source", metavar="CONFIG", required=False, shell_complete=completing.experiments)
@click.option("--out", type=FOLDER, help="The folder to write into; needed, unless one of the next five is given.")
@click.option("--list", "listing", is_flag=True, help="List the shipped experiments, and what each needs.")
@click.option(
    "--show",
    metavar="NAME",
    shell_complete=completing.experiment_names,
    help="Print a shipped experiment, to be copied and changed.",
)
@click.option("--check", is_flag=True, help="Say all that is wrong with CONFIG, its images and this machine.")
@click.option("--dry-run", is_flag=True, help="Foretell hours and disk space of each step from a few images.")
@click.option(
    "--schema",
    type=click.Choice(["experiment", "recipe"]),
    is_flag=False,
    flag_value="experiment",
    help="Print the JSON schema of experiments' or recipes' files, for editors.",
)
@set_option("Change a value, such as train.epochs=2, arms.sr.size=64 or recipe=compact; repeatable.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Trainings at the same time; if left out, as many as there are cores."
)
@log_option
@common
def command(
    source: str | None,
    out: Path | None,
    listing: bool,
    show: str | None,
    check: bool,
    dry_run: bool,
    schema: str | None,
    changes: dict[str, Any],
    jobs: int | None,
    curves: tuple[str, ...],
    as_json: bool,
) -> int:
    """Prepare data, fill a cache, train every arm with every seed, measure, compare, and write a report.

    CONFIG is the name of a shipped experiment (see --list), or a YAML file. What an earlier run did in OUT is not
    repeated, unless its images or settings changed; the same command resumes a run that was killed.

    \b
    srcache experiment quickstart --out study
    srcache experiment own-photos --out study --set data.hr=photos
    srcache experiment thesis-corrected --out study --set data.hr=photos --set 'seeds=[0,1,2,3,4]'
    srcache experiment mine.yaml --out study --set train.epochs=2
    srcache experiment mine.yaml --check
    """
    if listing or show or schema:
        return print_shipped(show, schema, as_json)
    needed = {"source": source, "out": out or check or dry_run}
    for parameter in click.get_current_context().command.params:
        if parameter.name in needed and not needed[parameter.name]:
            raise click.MissingParameter(param=parameter, ctx=click.get_current_context())
    from srcache.study.experiment import load_experiment

    source = str(source)
    experiment = load_experiment(source, changes)
    if check:
        return print_check(experiment, as_json)
    if dry_run or out is None:
        return print_forecast(experiment, jobs or _jobs(experiment), out, as_json)
    words = ["srcache", "experiment", source, "--out", str(out)]
    for key, value in changes.items():
        words += ["--set", f"{key}={_word(value)}"]
    result = run(experiment, out, jobs, [shlex.join(words), f"srcache report {shlex.quote(str(out))}"], as_json, curves)
    return show_result("experiment", result, as_json)


def run(
    experiment: "Experiment",
    out: Path,
    jobs: int | None,
    commands: Sequence[str],
    as_json: bool,
    curves: Sequence[str] = (),
) -> "ExperimentResult":
    """Run an experiment; progress is printed on stdout, or on stderr if stdout is for JSON."""
    from srcache.study.experiment import run_experiment

    return run_experiment(
        experiment,
        out,
        lambda line: note(line, err=as_json),
        jobs=jobs or _jobs(experiment),
        commands=commands,
        curves=curves,
    )


def show_result(name: str, result: "ExperimentResult", as_json: bool) -> int:
    """Print the result; returns the exit code."""
    ok = not result.failures
    if as_json:
        echo(document(name, _summary(result), result.failures, ok))
        return 0 if ok else 1
    echo(f"\n{_arms(result.results)}\n\n{_quality(result.results)}\n")
    if result.results.get("answer"):
        echo(result.results["answer"])
    for sweep in result.results.get("sweeps", []):
        echo(f"Curves {sweep['name']}: {sweep['answer']}")
    echo(f"Verdict: {result.verdict}")
    if len(result.results["config"]["seeds"]) == 1:
        echo(f"{result.results['seeds']['verdict']}")
    if result.failures:
        lines = [f"{one['step']}: {one['reason']}: {one['source']}: {one['detail']}" for one in result.failures]
        echo(f"\n{counted(len(lines), 'image')} could not be used:\n{first_lines(lines)}", err=True)
    echo(f"\n{counted(result.trained, 'network')} trained, {result.reused} there already; everything is in")
    echo(f"{result.out}, the report is {result.report}")
    echo(f"done in {duration(result.seconds)}")
    return 0 if ok else 1


def _jobs(experiment: "Experiment") -> int:
    """Trainings at the same time: cores divided by the threads of one training; one if they share an accelerator."""
    from srcache.machine import cores

    if any(arm.settings.device != "cpu" for arm in experiment.arms):
        return 1
    threads = max(arm.settings.threads for arm in experiment.arms)
    return max(1, cores() // threads)


def _word(value: Any) -> str:
    """A value as YAML on one line."""
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=10**6)).removesuffix("\n...\n").strip()


def _summary(result: "ExperimentResult") -> dict[str, Any]:
    """What a program needs first; everything is in results.json."""
    names = ("name", "domain", "accuracy", "mean", "spread")
    arms = [{name: arm[name] for name in names} for arm in result.results["arms"]]
    return {
        "out": result.out,
        "results": result.out / "results.json",
        "report": result.report,
        "answer": result.results.get("answer") or None,
        "verdict": result.verdict,
        "arms": arms,
        "sweeps": result.results["sweeps"],
        "grid": result.results["grid"],
        "treated": result.results["data"].get("treated", {}),
        "trained": result.trained,
        "reused": result.reused,
        "seconds": result.seconds,
    }


def _arms(results: dict[str, Any]) -> str:
    rows = []
    for arm in results["arms"]:
        each = ", ".join(map(percent, arm["accuracy"]))
        rows.append((arm["name"], arm["network"], percent(arm["mean"]), percent(arm["spread"]), each))
    tested = of_all(results["compare"]["images"], sum(results["data"]["counts"]["test"].values()))
    seeds = list(map(str, results["config"]["seeds"]))
    heads = ("arm", "network", "accuracy", "spread", f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}")
    return f"Accuracy on {tested} test images of each arm's own kind\n{table(rows, heads)}"


def _quality(results: dict[str, Any]) -> str:
    metrics = list(dict.fromkeys(name for found in results["quality"].values() for name in found["metrics"]))
    rows = [
        (_KINDS.get(kind, kind), *(_mean(found["metrics"].get(name), found["pairs"]) for name in metrics))
        for kind, found in results["quality"].items()
    ]
    convention = next(iter(results["quality"].values()))["convention"]
    return f"Image quality against HR ({convention})\n{table(rows, ('', *metrics))}"


def _mean(found: dict[str, Any] | None, pairs: int) -> str:
    from srcache.study.quality import mean_text

    return NOTHING if found is None else mean_text(found, pairs)
