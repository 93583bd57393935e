"""Manifests: every mistake is named at once, and the shipped ones are sound."""

import re

import pytest
from bundles import MANIFEST

from srcache.errors import ConfigError
from srcache.weights.bundle import locate
from srcache.weights.manifest import Repository, load_manifest, shipped_manifests


def test_every_mistake_of_a_manifest_is_named_at_once(tmp_path):
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
    message = str(caught.value)
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
        assert words in message
        assert message.count(words) == 1


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "parts: {}"])
def test_what_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad.yaml"):
        load_manifest(tmp_path / "bad.yaml")


NEEDED = {
    *("unet.config", "unet", "vae.config", "vae", "text.config", "text"),
    *("tokenizer.vocab", "tokenizer.merges", "scheduler.config", "ram", "dape"),
}
OWN = {"seesr": {"controlnet.config", "controlnet"}, "osediff": {"osediff"}}


@pytest.mark.parametrize("name", shipped_manifests())
def test_a_shipped_manifest_is_sound(name):
    manifest = load_manifest(name)
    assert manifest.summary
    assert manifest.engine == name.partition("-")[0]
    wanted = NEEDED | OWN[manifest.engine]
    assert {part.name for part in manifest.parts} - {"image_unet", "ram.config", "ram.tags"} == wanted
    for part in manifest.parts:
        assert part.source.licence != "unknown"
        assert part.source.made_by or (part.source.link and part.source.folders)
        assert part.source.scope == "" or part.source.made_by


def test_a_manifest_s_file_says_where_each_part_is_from(manifest):
    found = load_manifest(manifest)
    assert (found.name, found.summary, found.engine) == (str(manifest), "two networks and a list", "test-bundled")
    assert {part.name: (part.source.name, part.path) for part in found.parts} == {
        "net": ("mine", "unet/net.safetensors"),
        "net.config": ("mine", "unet/config.json"),
        "other": ("mine", "spare.pth"),
        "tags": ("words", "words.txt"),
    }
    assert found.digest is None, "the SHA-256 of its files are not in it"
    assert re.fullmatch(r"mine-[0-9a-f]{16}", found.key)
    assert load_manifest(shipped_manifests()[0]).key == shipped_manifests()[0]


def test_sources_of_one_name_in_two_manifests_are_not_the_same(manifest, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(MANIFEST.replace("licence: MIT", "licence: CC0-1.0"))
    mine, theirs = ({part.name: part.identity for part in load_manifest(path).parts} for path in (manifest, other))
    assert mine["net"] != theirs["net"]
    assert mine["tags"] == theirs["tags"], "that source is the same in both"


def test_repositories_are_written_short_or_with_all_their_fields(tmp_path):
    path = tmp_path / "hub.yaml"
    path.write_text(
        "parts: {a: s}\nsources: {s: {files: {a: a.txt}, hub: [o/one, o/two@v1, {repo: o/three, folder: in/side}]}}"
    )
    [part] = load_manifest(path).parts
    assert part.source.repositories == (
        Repository("o/one"),
        Repository("o/two", "v1"),
        Repository("o/three", folder="in/side"),
    )
    assert [str(one) for one in part.source.repositories] == ["o/one", "o/two@v1", "o/three"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("folders: [/etc]", "source mine: a folder is relative and without '..', but is '/etc'"),
        ("folders: [a/../../b]", "but is 'a/../../b'"),
        ("folders: [~/x]", "but is '~/x'"),
        ("folders: [7]", "but is 7"),
        (r'folders: ["a\u001b[2Jb"]', "a folder is relative"),
        ("hub: ['../..']", "a repository is owner/name, but is '../..'"),
        ("hub: [a/b--c]", "a repository is owner/name, but is 'a/b--c'"),
        ("hub: [a/.git]", "a repository is owner/name"),
        ("hub: [a/b/c]", "a repository is owner/name"),
        ("hub: [a/b@../../x]", "a revision is a branch, a tag or a commit, but is '../../x'"),
        ("hub: [{repo: a/b, revision: /x}]", "a revision is a branch"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(source, words, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(f"engine: x\nparts: {{a: mine}}\nsources: {{mine: {{{source}, files: {{a: a.bin}}}}}}")
    with pytest.raises(ConfigError) as caught:
        load_manifest(path)
    assert words in str(caught.value)


def test_the_folder_itself_and_usual_names_are_taken(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(
        "engine: x\nparts: {a: mine}\n"
        "sources: {mine: {folders: [., a/b], hub: [a-b/c.d_e@refs/pr/1], files: {a: a.bin}}}"
    )
    (part,) = load_manifest(path).parts
    assert (part.source.folders, str(part.source.repositories[0])) == ((".", "a/b"), "a-b/c.d_e@refs/pr/1")
