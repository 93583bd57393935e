"""`srcache experiment`: a whole study by one configuration, from pictures to a report."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted, duration

from .output import common, document, set_option, table

if TYPE_CHECKING:
    from srcache.study.experiment.config import Experiment
    from srcache.study.experiment.run import ExperimentResult

_KINDS = {"lr": "LR", "bicubic": "bicubic", "sr": "SR", "hr": "HR"}


@click.command("experiment", short_help="A whole study: arms × seeds, from pictures to a report, in one folder.")
@click.argument("source", metavar="CONFIG")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write into."
)
@set_option("Change a value, such as train.epochs=2, arms.sr.size=64 or recipe=compact; repeatable.")
@click.option("--jobs", type=click.IntRange(1), help="Trainings at a time; as many as cores if left out.")
@common
def command(source: str, out: Path, changes: dict[str, Any], jobs: int | None, as_json: bool) -> int:
    """Prepare data, fill a cache, train every arm with every seed, measure, compare, and write a report.

    CONFIG is the name of a shipped experiment (quickstart, faces, thesis-as-published, thesis-corrected), or a YAML
    file. What an earlier run of OUT did is not repeated, unless its pictures or settings changed; a run that was
    killed goes on with the same command.

    \b
    srcache experiment quickstart --out study
    srcache experiment thesis-corrected --out study --set data.hr=photos --set 'seeds=[0,1,2,3,4]'
    srcache experiment mine.yaml --out study --set train.epochs=2
    """
    from srcache.study.experiment.load import load_experiment

    experiment = load_experiment(source, changes)
    words = ["srcache", "experiment", source, "--out", str(out)]
    for key, value in changes.items():
        words += ["--set", f"{key}={_word(value)}"]
    result = run(experiment, out, jobs, [shlex.join(words), f"srcache report {shlex.quote(str(out))}"], as_json)
    return show("experiment", result, as_json)


def run(
    experiment: "Experiment", out: Path, jobs: int | None, commands: Sequence[str], as_json: bool
) -> "ExperimentResult":
    """Run an experiment; progress is told on stdout, or on stderr where stdout is for JSON."""
    from srcache.study.experiment.run import run_experiment

    return run_experiment(
        experiment,
        out,
        lambda line: click.echo(line, err=as_json),
        jobs=jobs or _jobs(experiment),
        commands=commands,
    )


def show(name: str, result: "ExperimentResult", as_json: bool) -> int:
    """Print what came of it; the exit code."""
    ok = not result.failures
    if as_json:
        click.echo(document(name, _plain(result), result.failures, ok))
        return 0 if ok else 1
    click.echo(f"\n{_arms(result.results)}\n\n{_quality(result.results)}\n")
    click.echo(f"Verdict: {result.verdict}")
    if len(result.results["config"]["seeds"]) == 1:
        click.echo(f"{result.results['seeds']['verdict']}")
    if result.failures:
        click.echo(f"\n{counted(len(result.failures), 'picture')} could not be used:", err=True)
    for one in result.failures[:10]:
        click.echo(f"  {one['step']}: {one['reason']}: {one['source']}: {one['detail']}", err=True)
    if len(result.failures) > 10:
        click.echo(f"  … and {len(result.failures) - 10} more (--json lists all)", err=True)
    click.echo(f"\n{counted(result.trained, 'network')} trained, {result.reused} there already; everything lies in")
    click.echo(f"{result.out}, the report is {result.report}")
    click.echo(f"done in {duration(result.seconds)}")
    return 0 if ok else 1


def _jobs(experiment: "Experiment") -> int:
    """Trainings at a time: as many as cores, by the threads that one takes; one where they share an accelerator."""
    import os

    if any(arm.settings.device != "cpu" for arm in experiment.arms):
        return 1
    threads = max(arm.settings.threads for arm in experiment.arms)
    return max(1, len(os.sched_getaffinity(0)) // threads)


def _word(value: Any) -> str:
    """A value as YAML on one line."""
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=10**6)).removesuffix("\n...\n").strip()


def _plain(result: "ExperimentResult") -> dict[str, Any]:
    """What programs want at once; everything is in results.json."""
    told = ("name", "domain", "accuracy", "mean", "spread")
    arms = [{name: arm[name] for name in told} for arm in result.results["arms"]]
    return {
        "out": result.out,
        "results": result.out / "results.json",
        "report": result.report,
        "verdict": result.verdict,
        "arms": arms,
        "grid": result.results["grid"],
        "trained": result.trained,
        "reused": result.reused,
        "seconds": result.seconds,
    }


def _arms(results: dict[str, Any]) -> str:
    rows = []
    for arm in results["arms"]:
        spread = "-" if arm["spread"] is None else f"{arm['spread']:.1%}"
        each = ", ".join(f"{share:.1%}" for share in arm["accuracy"])
        rows.append((arm["name"], arm["network"], f"{arm['mean']:.1%}", spread, each))
    tested = sum(results["data"]["counts"]["test"].values())
    heads = ("arm", "network", "accuracy", "spread", f"seeds {', '.join(map(str, results['config']['seeds']))}")
    return f"Accuracy on {counted(tested, 'test picture')} of each arm's own kind\n{table(rows, heads)}"


def _quality(results: dict[str, Any]) -> str:
    metrics = list(dict.fromkeys(name for found in results["quality"].values() for name in found["metrics"]))
    rows = [
        (_KINDS.get(kind, kind), *(_mean(found["metrics"].get(name)) for name in metrics))
        for kind, found in results["quality"].items()
    ]
    convention = next(iter(results["quality"].values()))["convention"]
    return f"Image quality against HR ({convention})\n{table(rows, ('', *metrics))}"


def _mean(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    return "identical" if found["mean"] is None else f"{found['mean']:.4g}"
