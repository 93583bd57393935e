"""Every command of the command line, and lines of each that work: so that a campaign cannot forget a new one."""

import click
from srcache_cli.main import cli

LINES = [
    "scan @photos --out @new.csv",
    "build @photos --cache @new --recipe @bicubic --config @options.yaml",
    "build @photos --cache @new --recipe bicubic --store shards",
    "build @photos --cache @cache --recipe bicubic",
    "upscale @photos/a/0.png --recipe @bicubic --out @out",
    "prepare split @photos @out",
    "prepare lr @photos @out --factor 2",
    "prepare crops @photos @out-hr @out-lr --size 4",
    "warm @photos --cache @cache --service http://127.0.0.1:9 --service-token-file @token --service-ca-file @token",
    "serve --cache @cache --recipe bicubic --source @photos --token-file @token --tls-cert @token --tls-key @token",
    "train --lr @photos --hr @photos --cache @cache --arm lr --validation @photos --validation-hr @photos --out @out",
    "train --lr photos --arm lr --validation 0.3 --test @photos --test-hr @photos --out @out",
    "predict @runs/lr @photos --out @out.csv",
    "eval images --reference @photos --test @photos --out @out",
    "eval images --reference @photos --compare @photos @photos --out @out",
    "eval classifiers @a.csv b=@a.csv --out @out",
    "experiment @tiny.yaml --out @out",
    "experiment @tiny.yaml --check",
    "quickstart --out @out",
    "info @cache --log-file @log",
    "view @cache --lr @photos --hr @photos --quality @quality.csv --out @page.html",
    "verify @cache",
    "repair @cache",
    "explain @cache @photos/a/0.png --recipe @bicubic",
    "safety @cache --lr @photos --hr @photos --classifier @runs/lr",
    "prune @cache bicubic",
    "export @cache @out --recipe @bicubic",
    "export @cache @out --format shards",
    "export @cache @out --join --lr @photos --hr @photos",
    "export @cache @out --format hf --lr @photos --hr @photos",
    "merge @cache @cache --into @out",
    "report @study --out @page.html",
    "models convert @weights.pth",
    "models fetch @weights.yaml --from @photos",
    "models list --log-file @log",
    "models verify --config @options.yaml",
    "engines --config @options.yaml",
    "doctor --cache @cache",
]
"""Command lines that work; each place that they read or write is marked by an @."""


def command_names() -> set[str]:
    """All commands, those of groups with the group's name before theirs: `build`, `prepare split`, …"""
    return set(_names(cli, ()))


def name_of(line: str) -> str:
    """The command of a line."""
    two = " ".join(line.split()[:2])
    return two if two in command_names() else line.split()[0]


def _names(command: click.Command, above: tuple[str, ...]) -> list[str]:
    if not isinstance(command, click.Group):
        return [" ".join(above)]
    context = click.Context(command)
    inner = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return [full for name, one in inner.items() if one for full in _names(one, (*above, name))]
