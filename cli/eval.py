"""`srcache eval`: what images and classifiers are worth, in numbers with their uncertainty."""

import click

from .lazy import LazyGroup


@click.group(
    "eval",
    cls=LazyGroup,
    modules={"images": "eval_images", "classifiers": "eval_classifiers"},
    short_help="Measure images against references; compare classifiers.",
)
def command() -> None:
    """Measure images against references, and compare classifiers on the same images.

    \b
    srcache eval images --reference hr/test --test sr/test
    srcache eval classifiers LR=lr.csv HR=hr.csv SR=sr.csv
    """
