"""Bundles of weights: found wherever they lie, hashed once, never mistaken for others, made where nobody has them."""

import contextlib
import hashlib
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engines import Noise
from safetensors.torch import load_file, save_file

from srcache.errors import ConfigError, DamagedError, DiskFullError, MissingExtraError, WeightsError
from srcache.recipe.reading import dump, load_recipe, require_engine, restore
from srcache.weights import bundle as bundles
from srcache.weights import record as records
from srcache.weights.bundle import find_bundle, locate
from srcache.weights.checkpoint import adopt, find, weights_folder
from srcache.weights.download import fetch
from srcache.weights.hub import Hub, Offer
from srcache.weights.manifest import BundlePart, FileSource, Repository, bundle_digest, load_manifest, shipped_manifests
from srcache.weights.record import records_folder
from srcache.weights.resolve import resolve_weights
from srcache.weights.search import candidates, search

MANIFEST = """
summary: two networks and a list
engine: test-bundled
parts: {net: mine, net.config: mine, tags: words, other: mine/spare}
sources:
  mine:
    licence: MIT
    link: https://example.org/mine
    folders: [preset/models/mine]
    files: {net: unet/net.safetensors, net.config: unet/config.json, spare: spare.pth}
  words:
    folders: [preset/models, .]
    files: {tags: words.txt}
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SRCACHE_WEIGHTS", raising=False)
    with contextlib.suppress(ImportError):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def models(tmp_path):
    """A folder as upstream wants it: preset/models with the files of `MANIFEST`."""
    folder = tmp_path / "upstream/preset/models"
    (folder / "mine/unet").mkdir(parents=True)
    save_file({"a": torch.arange(6.0)}, folder / "mine/unet/net.safetensors")
    (folder / "mine/unet/config.json").write_text("{}")
    torch.save({"model": {"b": torch.ones(2, 2)}}, folder / "mine/spare.pth")
    (folder / "words.txt").write_text("cat\ndog\n")
    return folder


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _published(models):
    """The SHA-256 of each part's file as it was published."""
    paths = {
        "net": "mine/unet/net.safetensors",
        "net.config": "mine/unet/config.json",
        "other": "mine/spare.pth",
        "tags": "words.txt",
    }
    return {part: _sha256(models / path) for part, path in paths.items()}


def test_the_digest_is_over_the_published_files_and_is_frozen(manifest, models):
    lines = "".join(f"{part} {digest}\n" for part, digest in sorted(_published(models).items()))
    assert locate(manifest, [models]) == hashlib.sha256(lines.encode()).hexdigest()
    frozen = "cf12aed8575273a7be967d90b40eeab1b9bea66b904f38ee59a107d6eeb713bf"
    assert bundle_digest({"b": "1" * 64, "a": "0" * 64}) == frozen, "this change orphans every cache in the field"


def test_what_was_located_is_found_by_its_digest(manifest, models):
    digest = locate(manifest, [models])
    found = find_bundle(digest)
    assert set(found) == {"net", "net.config", "tags", "other"}
    assert found["net"] == models / "mine/unet/net.safetensors"
    assert found["other"].parent == weights_folder(), "what was pickled is converted"
    assert torch.equal(load_file(found["other"])["b"], torch.ones(2, 2))
    assert locate(manifest) == digest, "what was found once needs no folder any more"


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


def test_every_missing_file_is_named_with_the_places_and_what_helps(manifest, models, monkeypatch):
    (models / "mine/spare.pth").unlink()
    (models / "words.txt").unlink()
    monkeypatch.setenv("SRCACHE_WEIGHTS", "/nowhere")
    with pytest.raises(WeightsError) as caught:
        locate(manifest, [models])
    told = str(caught.value)
    assert "lack 2 of 4 files on this machine:\n  - other: spare.pth of mine\n  - tags: words.txt of words\n" in told
    assert f"looked in: {models}, $SRCACHE_WEIGHTS (/nowhere), the Hugging Face cache" in told
    assert f"`srcache models fetch {manifest} --from FOLDER`" in told
    assert "mine: https://example.org/mine" in told
    assert not records_folder().exists()


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


def test_a_file_that_moved_is_missed_then_found_again_under_the_same_digest(manifest, models, tmp_path):
    digest = locate(manifest, [models])
    moved = tmp_path / "moved/models"
    moved.parent.mkdir()
    os.rename(models, moved)
    with pytest.raises(WeightsError, match=r"is not there any more; `srcache models fetch .*mine.yaml`"):
        find_bundle(digest)
    assert locate(manifest, [moved]) == digest
    assert find_bundle(digest)["tags"] == moved / "words.txt"


def test_a_file_that_was_only_touched_is_hashed_once_and_trusted_again(manifest, models, monkeypatch):
    digest = locate(manifest, [models])
    os.utime(models / "words.txt", ns=(1, 1))
    hashed = []
    monkeypatch.setattr(records, "file_digest", lambda path: hashed.append(path.name) or _sha256(path))
    assert find_bundle(digest)
    assert find_bundle(digest)
    assert locate(manifest) == digest
    assert hashed == ["words.txt"]


def test_a_file_that_changed_is_damaged_until_it_is_given_anew(manifest, models):
    digest = locate(manifest, [models])
    (models / "words.txt").write_text("cow\n")
    for act in (lambda: find_bundle(digest), lambda: locate(manifest)):
        with pytest.raises(DamagedError, match=r"words.txt has changed since it was recorded.* --from FOLDER"):
            act()
    assert locate(manifest, [models]) != digest


def test_only_an_audit_sees_through_a_forged_time(manifest, models):
    digest = locate(manifest, [models])
    before = (models / "words.txt").stat().st_mtime_ns
    (models / "words.txt").write_text("cow\ndog\n")
    os.utime(models / "words.txt", ns=(before, before))
    assert find_bundle(digest)
    with pytest.raises(DamagedError, match=r"words.txt has changed"):
        find_bundle(digest, hashed=True)


def test_a_part_that_two_bundles_share_is_read_and_converted_once(manifest, models, tmp_path, monkeypatch):
    locate(manifest, [models])
    other = tmp_path / "other.yaml"
    other.write_text(MANIFEST.replace("net: mine, net.config: mine", "again: mine/spare"))
    hashed = []
    monkeypatch.setattr(bundles, "file_digest", lambda path: hashed.append(path.name) or _sha256(path))
    monkeypatch.setattr(bundles, "adopt", lambda path: pytest.fail("converted again"))
    (models / "mine/spare.pth").unlink()
    found = find_bundle(locate(other))
    assert hashed == []
    assert found["again"] == found["other"]
    assert len(list(records_folder().glob("*.json"))) == 2


def test_a_part_with_code_in_it_is_refused(manifest, models):
    torch.save({"b": Bomb()}, models / "mine/spare.pth")
    with pytest.raises(WeightsError, match="runs no code from checkpoints"):
        locate(manifest, [models])
    assert not records_folder().exists()


def test_what_is_no_safetensors_file_is_refused(manifest, models):
    (models / "mine/unet/net.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(WeightsError, match=r"net.safetensors does not read as safetensors"):
        locate(manifest, [models])


def test_a_file_with_another_hash_than_the_manifest_says_is_damaged(manifest, models):
    known = _published(models)["tags"]
    manifest.write_text(MANIFEST.replace("words.txt}", f"{{path: words.txt, sha256: {known}}}}}"))
    assert locate(manifest, [models])
    (models / "words.txt").write_text("cat\n")
    with pytest.raises(DamagedError, match=r"words.txt should have the SHA-256 \w{64}, but has \w{64}: it"):
        locate(manifest, [models])


def test_a_record_that_cannot_be_read_says_what_to_do(manifest, models):
    digest = locate(manifest, [models])
    (records_folder() / f"{digest}.json").write_text('{"format": 1}')
    with pytest.raises(DamagedError, match=r"is no record of weights .*; delete it, and fetch them again"):
        find_bundle(digest)


# The hub's cache


def test_the_hubs_cache_is_searched_without_a_network(manifest, models, tmp_path):
    pytest.importorskip("huggingface_hub")
    manifest.write_text(MANIFEST.replace("  words:\n", "  words:\n    hub: [gone/repository, some/words@v1]\n"))
    (models / "words.txt").unlink()
    repository = tmp_path / "hub/models--some--words"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/v1").write_text("c0ffee")
    (repository / "snapshots/c0ffee").mkdir(parents=True)
    (repository / "snapshots/c0ffee/words.txt").write_text("cat\ndog\n")
    digest = locate(manifest, [models])
    assert find_bundle(digest)["tags"] == repository / "snapshots/c0ffee/words.txt"
    kept = records.read_weights_record(digest).parts["tags"]
    assert (kept.origin, kept.licence) == ("some/words@c0ffee", "unknown")


def test_without_the_hubs_package_folders_are_enough(manifest, models, monkeypatch):
    manifest.write_text(MANIFEST.replace("  words:\n", "  words:\n    hub: [some/words]\n"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert fetch(manifest, [models])
    (models / "words.txt").unlink()
    with pytest.raises(MissingExtraError, match=r"pip install 'srcache\[seesr\]'"):
        fetch(manifest, [models])


def test_what_the_disk_cannot_hold_is_not_begun(tmp_path):
    pytest.importorskip("huggingface_hub")
    repository = Repository("some/words")
    part = BundlePart(name="tags", source=FileSource(name="words", repositories=(repository,)), path="words.txt")
    with pytest.raises(DiskFullError, match=r"MiB are to be downloaded to .*, but only .* are free; make room"):
        Hub().require_room([Offer(part, repository, 1 << 60, ())])


# Made on the spot

MADE = """
engine: test-noise
parts: {net: made, words: made}
sources:
  made:
    licence: CC0-1.0
    made_by: test-noise
    files:
      net: {path: deep/net.txt, sha256: NET}
      words: {path: words.txt, sha256: WORDS}
"""


def _make(name, folder):
    (folder / "deep").mkdir()
    (folder / "deep/net.txt").write_text(f"net of {Path(name).stem}")
    (folder / "words.txt").write_text("cat")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A shipped bundle, `small`, which the engine test-noise makes."""
    folder = tmp_path / "configs/weights"
    folder.mkdir(parents=True)
    text = MADE.replace("NET", hashlib.sha256(b"net of small").hexdigest())
    (folder / "small.yaml").write_text(text.replace("WORDS", hashlib.sha256(b"cat").hexdigest()))
    monkeypatch.setattr("srcache.weights.manifest.files", lambda _: tmp_path / "configs")
    monkeypatch.setattr(Noise, "make_weights", staticmethod(_make), raising=False)
    return load_manifest("small")


def test_a_bundle_that_nobody_publishes_is_made_where_it_is_missed(made):
    digest = locate("small")
    assert digest == made.digest
    found = find_bundle(digest)
    assert found["net"] == weights_folder() / "made/small/deep/net.txt"
    assert sorted(path.name for path in (weights_folder() / "made").iterdir()) == ["small"]


def test_a_digest_is_enough_to_make_it(made):
    assert find_bundle(str(made.digest))["words"].read_text() == "cat"
    shutil.rmtree(weights_folder() / "made")
    assert locate("small") == made.digest, "what was deleted is made again"


def test_what_is_whole_is_not_made_again_and_what_is_not_is(made, monkeypatch):
    locate("small")
    monkeypatch.setattr(Noise, "make_weights", staticmethod(lambda *_: pytest.fail("made again")))
    locate("small")
    (weights_folder() / "made/small/words.txt").write_text("torn")
    monkeypatch.setattr(Noise, "make_weights", staticmethod(_make))
    assert locate("small") == made.digest
    assert find_bundle(str(made.digest))["words"].read_text() == "cat"


def test_an_engine_that_makes_something_else_is_told(made, monkeypatch):
    def half(name, folder):
        (folder / "words.txt").write_text("dog")

    monkeypatch.setattr(Noise, "make_weights", staticmethod(half))
    with pytest.raises(WeightsError, match=r"other files .*: deep/net.txt \(missing\), words.txt \(SHA-256 cd6357"):
        locate("small")
    assert not (weights_folder() / "made/small").exists()
    monkeypatch.delattr(Noise, "make_weights")
    with pytest.raises(WeightsError, match="test-noise should make these weights, but has no make_weights"):
        locate("small")


# What recipes say


@pytest.fixture
def loads(monkeypatch):
    monkeypatch.setattr(Noise, "info", replace(Noise.info, loads=True))


@pytest.mark.usefixtures("loads")
def test_a_recipe_names_a_bundle_by_name_file_or_digest(made, manifest, models, tmp_path):
    (tmp_path / "mine").mkdir()
    recipe = tmp_path / "mine/recipe.yaml"
    recipe.write_text("engine: test-noise\nweights: small\n")
    loaded = load_recipe(recipe)
    assert loaded.weights == made.digest
    recipe.write_text(f"engine: test-noise\nweights: {made.digest}\n")
    assert load_recipe(recipe) == loaded
    manifest.write_text(MANIFEST.replace("test-bundled", "test-noise"))
    digest = locate(manifest, [models])
    recipe.write_text("engine: test-noise\nweights: ../mine.yaml\n")
    assert load_recipe(recipe).weights == digest != loaded.weights


@pytest.mark.usefixtures("loads")
def test_a_recipe_whose_bundle_is_not_here_or_broken_is_not_cooked_but_its_cache_is_read(manifest, models, tmp_path):
    manifest.write_text(MANIFEST.replace("test-bundled", "test-noise"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("engine: test-noise\nweights: mine.yaml\n")
    with pytest.raises(WeightsError, match="lack 4 of 4 files"):
        load_recipe(recipe)
    locate(manifest, [models])
    loaded = load_recipe(recipe)
    (models / "words.txt").unlink()
    with pytest.raises(WeightsError, match="is not there any more"):
        require_engine(loaded, Noise.info)
    assert restore(dump(loaded), "recipe.yaml") == loaded


@pytest.mark.usefixtures("loads")
def test_a_bundle_for_another_engine_is_refused(manifest, models, tmp_path):
    locate(manifest, [models])
    with pytest.raises(WeightsError, match=r"are for engine test-bundled, but the recipe's is test-noise"):
        load_recipe_of(tmp_path, f"engine: test-noise\nweights: {manifest}\n")


def load_recipe_of(folder, text):
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml")


def test_checkpoints_and_bundles_are_not_mistaken_for_each_other(manifest, models):
    bundle, checkpoint = locate(manifest, [models]), adopt(models / "mine/unet/net.safetensors")
    with pytest.raises(WeightsError, match="are a bundle of several files, but one checkpoint is needed"):
        find(bundle)
    with pytest.raises(WeightsError, match="are one checkpoint, but a bundle of several files is needed"):
        find_bundle(checkpoint)
    with pytest.raises(WeightsError, match=f"no bundle of weights {'0' * 64} on this machine"):
        find_bundle("0" * 64)


def test_what_names_nothing_says_what_there_is(tmp_path):
    with pytest.raises(WeightsError, match=r"is none of them .* bundles: .*seesr"):
        resolve_weights("nothing", tmp_path)
    with pytest.raises(ConfigError, match=r"no bundle of weights is named 'nothing'; use one of .*seesr"):
        locate("nothing")
    with pytest.raises(ConfigError, match=r"gone.yaml cannot be read"):
        locate(tmp_path / "gone.yaml")


# Manifests


def test_every_mistake_of_a_manifest_is_told_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        """
        colour: red
        engine: 7
        parts: {Net: mine, a: nobody, b: mine/none, c: mine, d: mine, e: mine}
        sources:
          mine:
            hub: [no-owner, {repo: a/b, folder: ../up}]
            folders: text
            files: {Net: /etc/passwd, c: ../c, d: {path: d, sha256: 12}, e: {path: e, sha256: ABC}}
        """
    )
    with pytest.raises(ConfigError) as caught:
        locate(path)
    told = str(caught.value)
    for words in (
        "the manifest has unknown fields",
        "engine is of the wrong type: 7",
        "part 'Net' must be of lower-case letters",
        "part a comes from 'nobody', but the sources are",
        "source mine has no file 'none'; it has Net, c, d, e",
        "a repository is owner/name, but is 'no-owner'",
        "a folder is relative and without '..', but is '../up'",
        "folders is of the wrong type: 'text'",
        "a path is relative and without '..', but is '/etc/passwd'",
        "a path is relative and without '..', but is '../c'",
        "sha256 is of the wrong type: 12",
        "sha256 must be 64 lower-case hexadecimal digits",
    ):
        assert words in told
        assert told.count(words) == 1


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "parts: {}"])
def test_what_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad.yaml"):
        load_manifest(tmp_path / "bad.yaml")


NEEDED = {
    *("unet.config", "unet", "controlnet.config", "controlnet", "vae.config", "vae", "text.config", "text"),
    *("tokenizer.vocab", "tokenizer.merges", "scheduler.config", "ram", "dape"),
}


@pytest.mark.parametrize("name", shipped_manifests())
def test_a_shipped_manifest_is_sound(name):
    manifest = load_manifest(name)
    assert manifest.summary
    assert manifest.engine == "seesr"
    assert {part.name for part in manifest.parts} - {"image_unet", "ram.config", "ram.tags"} == NEEDED
    for part in manifest.parts:
        assert part.source.licence != "unknown"
        assert part.source.made_by or (part.source.link and part.source.folders)
        assert part.source.scope == "" or part.source.made_by


FOLDERS = {"sd-2-base": "stable-diffusion-2-base"}
UPSTREAM = {
    "seesr": {"unet": "seesr/unet", "dape": "DAPE.pth", "ram": "ram_swin_large_14m.pth", "vae": "sd2/vae"},
    "seesr-ccsr-vae": {"unet": "seesr/unet", "vae": "ccsr-v2/vae", "text": "sd2/text_encoder"},
    "seesr-turbo": {"unet": "sd-turbo/unet", "image_unet": "seesr/unet", "dape": "DAPE.pth", "vae": "sd-turbo/vae"},
}


@pytest.mark.parametrize("name", UPSTREAM)
@pytest.mark.parametrize("given", ["", "preset/models"])
def test_the_folders_that_upstream_asks_for_are_found(name, given, tmp_path):
    models = tmp_path / "preset/models"
    for source in ("seesr", "sd-2-base", "sd-turbo", "ccsr-v2"):
        for path in _paths(source):
            _touch(models / FOLDERS.get(source, source) / path)
    for path in ("DAPE.pth", "ram_swin_large_14m.pth"):
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
