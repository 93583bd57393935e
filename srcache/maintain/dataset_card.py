"""The card of a data set for the Hugging Face Hub: its head for the Hub and `datasets`, and the page for people.

The head names no licence of the data set: nobody but the user knows what the source images may be used for. The page
says what is known, of the engine's code and weights.
"""

from typing import Any

import srcache
from srcache.engine.registry import find_engine
from srcache.errors import EngineError
from srcache.files.documents import yaml_text
from srcache.maintain.training_readme import ABOUT, TrainingSet, class_table
from srcache.recipe.reading import dump
from srcache.recipe.recipe import Recipe
from srcache.wording import counted, human_bytes

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(content: TrainingSet, recipe: Recipe, url: str | None = None) -> str:
    """The page about Parquet files, which may lie below a URL."""
    size = human_bytes(sum(shard.bytes for shard in content.shards))
    parts = [
        f"---\n{yaml_text(_head(content))}---",
        f"# {counted(content.samples, 'image')} with SR variants",
        f"{counted(len(content.shards), 'Parquet file')}, {size}, written by `srcache export --format hf` (srcache "
        f"{srcache.__version__}) from a cache of super-resolved images. `{ABOUT}` holds the same numbers for programs.",
        "## Columns",
        "\n".join(_column_line(name, recipe) for name in content.members),
        *(["## Classes", class_table(content.classes, "label")] if content.classes else []),
        "## How it was made",
        _made(content, recipe),
        "## Licences",
        _licences(recipe),
        "## Load",
        _load(content, url),
        *([] if url else ["## Share", _SHARE]),
    ]
    return "\n\n".join(parts) + "\n"


def _head(content: TrainingSet) -> dict[str, Any]:
    """What the Hub and `datasets` read."""
    classification = ["image-classification"] if content.classes else []
    return {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train-*.parquet"}]}],
        "task_categories": [*classification, "image-to-image"],
        "size_categories": [next((name for most, name in _SIZES if content.samples < most), "n>1M")],
        "tags": ["super-resolution", "srcache"],
    }


def _column_line(name: str, recipe: Recipe) -> str:
    """What a column is."""
    words = {
        "name": "the source image's path in what the cache was built from",
        "key": "BLAKE2b-128 of the source image's bytes (`b2sum -l 128 FILE`)",
        "lr": f"LR, {f'made of HR by {recipe.degradation}' if recipe.degradation else 'the source image'}",
        "hr": f"HR, {'the source image' if recipe.degradation else 'paired with LR by name'}",
        "label": "the class, a ClassLabel",
    }
    return f"- `{name}`: {words.get(name) or f'SR image {int(name[2:])}'}"


def _made(content: TrainingSet, recipe: Recipe) -> str:
    return (
        f"Each SR image was computed once from its LR image by recipe `{content.recipe}`, fingerprint "
        f"`{content.fingerprint}`, and kept in the cache; the images are those of catalog `{content.catalog}`.\n\n"
        f"```yaml\n{dump(recipe)}```"
    )


def _licences(recipe: Recipe) -> str:
    """What is known of the licences of what made the SR images."""
    try:
        info = find_engine(recipe.engine).info
    except EngineError:
        lines = [f"- Engine `{recipe.engine}`: not known; it is not installed where this page was written"]
    else:
        weights = "; ".join(info.weights_licenses) or ("not known" if recipe.weights else "none are needed")
        lines = [f"- Code of engine `{info.name}`: {info.code_license}", f"- Weights: {weights}"]
    digest = f" They have the SHA-256 digest `{recipe.weights}`." if recipe.weights else ""
    return "\n".join(lines) + (
        f"\n\nThis is of what made the SR images.{digest} The licence of the source images is not known to srcache; "
        "add `license:` to the head of this page when you share them."
    )


def _load(content: TrainingSet, url: str | None) -> str:
    image = next(name for name in content.members if name.startswith("sr"))
    what = f'"parquet", data_files="{url}/train-*.parquet"' if url else '"."'
    second = "label" if content.classes else "name"
    where = "" if url else "  # this folder's path; on the Hub USER/NAME"
    return f"""```python
from datasets import load_dataset

data = load_dataset({what}, split="train"){where}
image, target = data[0]["{image}"], data[0]["{second}"]  # a Pillow image, and what it is
```

`streaming=True` reads the files as they are needed, without a copy in the cache of `datasets`."""


_SHARE = """With huggingface_hub's own command, in this folder, after `hf auth login`:

```sh
hf upload USER/NAME . . --repo-type dataset
```"""
