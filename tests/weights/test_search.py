"""The search for a bundle's files: in which places, in which order, and under which names."""

import os

import pytest

from srcache.errors import WeightsError
from srcache.weights.bundle import find_bundle, locate
from srcache.weights.manifest import BundlePart, FileSource, load_manifest
from srcache.weights.search import candidates, search


@pytest.mark.parametrize("given", ["", "preset", "preset/models", "preset/models/mine"])
def test_a_source_is_found_from_its_folder_and_from_every_one_above(given, models):
    source = FileSource(name="mine", folders=("preset/models/mine",))
    part = BundlePart(name="net", source=source, path="unet/net.safetensors")
    found = [path for path in candidates(part, models.parents[1] / given) if path.is_file()]
    assert found == [models / "mine/unet/net.safetensors"]


def test_a_folder_of_another_name_is_not_taken_for_the_source(manifest, models):
    os.rename(models / "mine", models / "other")
    with pytest.raises(WeightsError, match="lack 3 of 4 files"):
        locate(manifest, [models, models / "other"])


def test_the_folders_of_the_environment_are_searched_in_order(manifest, models, tmp_path, monkeypatch):
    first = tmp_path / "first"
    first.mkdir()
    (first / "words.txt").write_text("other\n")
    monkeypatch.setenv("SRCACHE_WEIGHTS", os.pathsep.join(["", str(first), str(models)]))
    found = find_bundle(locate(manifest))
    assert found["tags"] == first / "words.txt"
    assert found["net"] == models / "mine/unet/net.safetensors"


def test_a_record_wins_over_the_environment_and_a_given_folder_over_the_record(manifest, models, tmp_path, monkeypatch):
    digest = locate(manifest, [models])
    other = tmp_path / "other"
    other.mkdir()
    (other / "words.txt").write_text("other\n")
    monkeypatch.setenv("SRCACHE_WEIGHTS", str(other))
    assert locate(manifest) == digest, "a name goes on meaning the same files"
    changed = locate(manifest, [other])
    assert changed != digest
    assert find_bundle(changed)["tags"] == other / "words.txt"
    assert find_bundle(digest)["tags"] == models / "words.txt", "what older recipes name is still there"
    assert locate(manifest) == changed


FOLDERS = {"sd-2-base": "stable-diffusion-2-base", "sd-2-1-base": "stable-diffusion-2-1-base"}


UPSTREAM = {
    "seesr": {"unet": "seesr/unet", "dape": "DAPE.pth", "ram": "ram_swin_large_14m.pth", "vae": "sd2/vae"},
    "seesr-ccsr-vae": {"unet": "seesr/unet", "vae": "ccsr-v2/vae", "text": "sd2/text_encoder"},
    "seesr-turbo": {"unet": "sd-turbo/unet", "image_unet": "seesr/unet", "dape": "DAPE.pth", "vae": "sd-turbo/vae"},
    "osediff": {"osediff": "osediff.pkl", "dape": "DAPE.pth", "unet": "stable-diffusion-2-1-base/unet"},
    "osediff-face": {"osediff": "osediff_face.pkl", "vae": "stable-diffusion-2-1-base/vae"},
}


@pytest.mark.parametrize("name", UPSTREAM)
@pytest.mark.parametrize("given", ["", "preset/models"])
def test_the_folders_that_upstream_asks_for_are_found(name, given, tmp_path):
    models = tmp_path / "preset/models"
    for source in ("seesr", "sd-2-base", "sd-2-1-base", "sd-turbo", "ccsr-v2"):
        for path in _paths(source):
            _touch(models / FOLDERS.get(source, source) / path)
    for path in ("DAPE.pth", "ram_swin_large_14m.pth", "osediff.pkl", "osediff_face.pkl"):
        _touch(models / path)
    found = search(load_manifest(name), [tmp_path / given])
    assert all(found.values())
    for part, place in UPSTREAM[name].items():
        assert found[part].path.is_relative_to(models / place.replace("sd2", FOLDERS["sd-2-base"]))


def _paths(source):
    """The files of a shipped source."""
    return {part.path for name in UPSTREAM for part in load_manifest(name).parts if part.source.name == source}


def _touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
