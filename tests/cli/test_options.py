"""Options that commands share: `--set`, and options from a file."""

from pathlib import Path

import click
import pytest
from srcache_cli.options import CACHE, FOLDER, IMAGES, SOURCE, parse_changes


def test_changes_are_read_as_yaml():
    words = ["scale=2", "options.filter=lanczos", "seeds=[0, 1]", "name=", "text=a=b", "rate=1e-4"]
    assert parse_changes(words) == {
        "scale": 2,
        "options.filter": "lanczos",
        "seeds": [0, 1],
        "name": None,
        "text": "a=b",
        "rate": "1e-4",
    }
    assert parse_changes(["scale=2", "scale=3"]) == {"scale": 3}, "the last one counts"
    assert parse_changes([]) == {}


@pytest.mark.parametrize("word", ["scale", "=2", "", "scale=[", "scale={"])
def test_a_change_of_another_form_is_refused(word):
    with pytest.raises(click.BadParameter, match=r"expected key=value, such as scale=2|the value of scale is not YAML"):
        parse_changes(["good=1", word])


# Options from a file


def _config(text):
    Path("options.yaml").write_text(text)
    return ["--config", "options.yaml"]


def test_options_may_come_from_a_file_and_the_command_line_wins(home, srcache):
    config = _config(
        "src: photos\ncache: new\nrecipe: bicubic\nset: {scale: 2, options.filter: lanczos}\ndry-run: true\n"
    )
    assert srcache("build", *config).out.startswith("bicubic-d9b6f661a66b48ba (dry run: nothing was written)")
    printed = srcache("build", *config, "--set", "scale=3", "--recipe", "lanczos")
    assert printed.out.startswith("lanczos-")
    assert "d9b6f661a66b48ba" not in printed.out
    assert not Path("new").exists()
    assert srcache("prune", *_config("cache: cache\nrecipes: [lanczos]\ncatalogs: true\n")).out.startswith(
        "would remove"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "colour: red\nsizes: 3\ncache: x\n",
            "has unknown options colour, sizes; known: actors, address, batch, cache, codec, compile, device",
        ),
        ("config: other.yaml\n", "has unknown options config"),
        ("[1, 2]\n", "must be a mapping of option names to values"),
        ("recipe: [\n", "is not YAML"),
        ("\xff", "is not YAML"),
        ("samples: many\n", "Invalid value for '--samples'"),
        ("set: {scale: -1}\n", "scale must be a number above 0"),
        ("set: [null]\n", "options.yaml: set must be one value, or a list of them, but got [None]"),
        ("set: [[scale=2]]\n", "options.yaml: set must be one value, or a list of them"),
        ("samples: [1, 2]\n", "options.yaml: samples must be one value, but got [1, 2]"),
        ("samples: {one: 1}\n", "options.yaml: samples must be one value, but got ['one=1']"),
    ],
)
def test_a_mistake_in_the_file_is_refused(home, srcache, text, message):
    Path("options.yaml").write_bytes(text.encode("latin-1"))
    printed = srcache("build", "photos", "--cache", "new", "--recipe", "bicubic", "--config", "options.yaml")
    assert printed.code == 2
    assert message in printed.err
    assert not Path("new").exists()


def test_an_empty_file_changes_nothing(home, srcache):
    assert srcache("info", "cache", *_config("# nothing\n")).code == 0
    assert "does not exist" in srcache("info", "cache", "--config", "missing.yaml").err


def test_a_cache_may_be_a_url_and_a_folder_must_not():
    assert CACHE.convert("s3://bucket/cache/", None, None) == "s3://bucket/cache"
    assert CACHE.convert("some/cache", None, None) == Path("some/cache")
    assert IMAGES.convert("memory://photos", None, None) == "memory://photos"
    with pytest.raises(click.BadParameter, match="must not hold a password"):
        CACHE.convert("s3://me:secret@bucket/cache", None, None)
    for kind in (FOLDER, SOURCE):
        with pytest.raises(click.BadParameter, match=r"got a URL \(s3://…\)"):
            kind.convert("s3://bucket/secret", None, None)
