"""What training shards say about themselves: `dataset.json` for programs, `README.md` for people and for `datasets`."""

import re
from dataclasses import dataclass
from html import escape

from srcache.recipe.reading import dump
from srcache.recipe.recipe import Recipe
from srcache.wording import counted, human_bytes, printable

ABOUT, README = "dataset.json", "README.md"

_MARKS = re.compile(r"[\\`*_\[\]!|~]")
"""What makes something else of a text in Markdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingShard:
    """One file: its name, how many samples it has, and its size."""

    file: str
    samples: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """What is in a folder of training shards.

    Attributes:
        recipe, fingerprint: of the SR images.
        catalog: the digest of the catalog that lists the images.
        seed: of the order; None where it is the catalog's.
        samples: how many there are in all shards.
        members: of each sample: in tars the suffix behind its number, else the column.
        classes: their names in the order of their numbers; empty without labels.
        shards: the files.
    """

    recipe: str
    fingerprint: str
    catalog: str
    seed: int | None
    samples: int
    members: tuple[str, ...]
    classes: tuple[str, ...]
    shards: tuple[TrainingShard, ...]


_LOCAL_HEAD = """from pathlib import Path

import webdataset as wds

shards = sorted(map(str, Path(".").glob("*.tar")))
"""


def readme(content: TrainingSet, recipe: Recipe, url: str | None = None) -> str:
    """The page about training shards, which may lie below a URL; its head tells `datasets` which files to load."""
    size = human_bytes(sum(shard.bytes for shard in content.shards))
    parts = [
        '---\nconfigs:\n- config_name: default\n  data_files: "*.tar"\n---',
        f"# {counted(content.samples, 'image')} with SR variants",
        f"WebDataset shards, written by `srcache export --join`: {counted(len(content.shards), 'tar file')}, {size}. "
        f"They are shuffled by seed {content.seed}. `{ABOUT}` holds the same numbers for programs.",
        "## A sample",
        "\n".join(_member_line(name, recipe) for name in content.members),
        "The members of a sample begin with its number in the shuffled order, eight digits. In the `json`, every field "
        "is there in every sample and of one type: `key` is BLAKE2b-128 of the source image's bytes, `name` its path, "
        "sizes are 0 and `class` is -1 where there is none, and `notes` is JSON text, a list of what the engine noted "
        "about each SR image.",
        *(["## Classes", class_table(content.classes, "cls")] if content.classes else []),
        "## Recipe",
        f"`{content.recipe}`, fingerprint `{content.fingerprint}`:\n\n```yaml\n{dump(recipe)}```",
        "## Train",
        _train(content) if url is None else _train_from(url, content),
        'With Hugging Face: `datasets.load_dataset("webdataset", data_files="*.tar")`, or this folder\'s path.',
    ]
    return "\n\n".join(parts) + "\n"


def _member_line(name: str, recipe: Recipe) -> str:
    """What a member is."""
    kind = name.partition(".")[0]
    if kind == "lr":
        made = f"made of HR by {recipe.degradation}" if recipe.degradation else "the source image"
        return f"- `{name}`: LR, {made}"
    if kind == "hr":
        return f"- `{name}`: HR, {'the source image' if recipe.degradation else 'paired with LR by name'}"
    words = {"cls": "the class's number, as text", "json": "what is known about the sample"}
    return f"- `{name}`: {words.get(kind) or f'SR image {int(kind[2:])}'}"


def class_table(classes: tuple[str, ...], column: str) -> str:
    """The classes and the numbers that a column has for them."""
    rows = [f"| {number} | {_cell(name)} |" for number, name in enumerate(classes)]
    return "\n".join([f"| `{column}` | class |", "|---|---|", *rows])


def _cell(name: str) -> str:
    """A name as the cell of a table: one line, in which nothing is a tag, an image, a link or code."""
    plain = escape(printable(" ".join(name.split())), quote=False)
    return _MARKS.sub(r"\\\g<0>", plain)


def _train(content: TrainingSet) -> str:
    image = next(name for name in content.members if name.startswith("sr"))
    target = "cls" if content.classes else "json"
    return f"""```python
{_LOCAL_HEAD}\
data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode("torchrgb").to_tuple("{image}", "{target}")
loader = wds.WebLoader(data, batch_size=None, num_workers=min(2, len(shards)))
for image, target in loader:  # float, 3 × height × width, in [0, 1]
    break
```

`.with_epoch(n)` after `WebLoader` ends an epoch after n items; there are {content.samples} samples."""


def _train_from(url: str, content: TrainingSet) -> str:
    """How to train from below a URL, with fsspec as webdataset's reader, which needs no program beside Python."""
    protocol = url.partition("://")[0]
    head = f"""import fsspec
import webdataset as wds
from webdataset.gopen import gopen_schemes

gopen_schemes["{protocol}"] = lambda url, mode="rb", bufsize=8192, **_: fsspec.open(url, mode).open()
shards = [file.full_name for file in fsspec.open_files("{url}/*.tar")]
"""
    return _train(content).replace(_LOCAL_HEAD, head)
