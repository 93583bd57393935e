"""The page on OSEDiff with its real weights, line by line, against a hub on this machine.

The hub and the authors' checkout have files of the right names and kinds: the tagger in its full size (its tags are
those of the package), the other networks small, all of them random.
"""

import json

import hub as hubs
import pytest
from PIL import Image
from safetensors.torch import load
from weights_pages import RAM, lines_of, pickled, runner, tagger_files, take_photos, write, written_by

pytest.importorskip("diffusers")
from srcache_plugins.osediff.lora import UNET, VAE
from srcache_plugins.osediff.tiny import RANK, write_weights
from srcache_plugins.stable_diffusion.networks.tagger import TAGS

BASE = "Manojb/stable-diffusion-2-1-base"


def as_authors_save(file):
    """The additions as their program lays them out."""
    tensors = load(file)
    own = {key: {n.removeprefix(key): t for n, t in tensors.items() if n.startswith(key)} for key in (UNET, VAE)}
    names = {"unet_lora_encoder_modules": ["conv_in"], "vae_lora_encoder_modules": ["quant_conv", "quant_conv"]}
    ranks = {"rank_unet": RANK, "rank_vae": RANK}
    return pickled({**ranks, **names, **{key.removesuffix("."): inner for key, inner in own.items()}})


@pytest.fixture
def person(tmp_path, tmp_path_factory):
    """Runs a line of the page in a folder with photographs and a clone of the authors' repository."""
    files = written_by(write_weights, tmp_path_factory.mktemp("published"))
    lora, tagger = files.pop("osediff/osediff.safetensors"), tagger_files()
    models = tmp_path / "OSEDiff/preset/models"
    write(models / "osediff.pkl", as_authors_save(lora))
    other = {name: tensor.flip(0) for name, tensor in load(lora).items()}
    face = {"state_dict_unet": {}, "state_dict_vae": {}}
    for name, tensor in other.items():
        network, _, own = name.partition(".")
        face[network][own] = tensor
    write(models / "osediff_face.pkl", pickled(face))
    write(models / "DAPE.pth", tagger.pop("DAPE.pth"))
    take_photos(tmp_path / "photos")
    with hubs.serve() as hub:
        hub.files = {BASE: {name: data for name, data in files.items() if not name.startswith("ram/")}, RAM: tagger}
        hub.refuse = {f"{owner}/stable-diffusion-2-1-base": "gone" for owner in ("stabilityai", "sd2-community")}
        yield runner(tmp_path, hub.address)


@pytest.mark.slow
def test_every_line_of_the_page_runs(person, tmp_path):
    lines = lines_of("plugins/osediff/README.md")
    assert lines[0].startswith("pip install")  # this environment has these two lines behind it
    assert lines[1].startswith("git clone")
    said = {line: person(line) for line in lines[2:]}
    assert "lacks 12 of 12" in said["srcache models list"]
    assert "osediff: ready" in said["srcache doctor"]
    for folder, size in (("one", (120, 96)), ("face", (30, 24))):
        with Image.open(tmp_path / folder / "a.png") as picture:
            assert picture.size == size
    person("srcache export cache out --format folder")
    records = [json.loads(line)["record"] for line in (tmp_path / "out/records.jsonl").read_text().splitlines()]
    known = set(json.loads(TAGS.read_text(encoding="utf-8"))["tags"])
    assert len(records) == 2
    for record in records:
        tags = record["notes"]["tags"]
        assert set(filter(None, tags.split(", "))) <= known
        assert record["notes"]["prompt"] == f"{tags}, ,"
    assert not list(tmp_path.glob("hub/**/*.pkl")), "the additions come from the clone"
