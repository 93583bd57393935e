"""What weights there are: how much of a bundle is here, which record is meant, and what an audit finds."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from bundles import published
from engines import Noise

from srcache.errors import DamagedError, WeightsError
from srcache.weights import bundle, digests
from srcache.weights.bundle import find_bundle, locate
from srcache.weights.digests import recorded
from srcache.weights.manifest import bundle_digest, load_manifest, shipped_manifests
from srcache.weights.status import (
    Damage,
    EngineWeights,
    bundle_state,
    bundle_states,
    choose_record,
    engine_weights,
    of_engines,
    verify_bundles,
)


def test_a_bundle_that_is_not_here_says_how_much_is_missing_and_what_brings_it(manifest):
    state = bundle_state(manifest)
    assert (state.parts, state.missing, state.bytes) == (4, ("net", "net.config", "other", "tags"), 0)
    assert (state.digest, state.made, state.engine) == (None, False, "test-bundled")
    assert state.problem == f"lacks 4 of 4 files; run: srcache models fetch {manifest}"


def test_a_bundle_that_was_located_is_complete(manifest, models):
    digest = locate(manifest, [models])
    state = bundle_state(manifest)
    assert (state.missing, state.problem) == ((), None)
    assert state.digest == digest == bundle_digest(published(models))
    assert state.bytes == sum(path.stat().st_size for path in find_bundle(digest).values())
    assert state.licences == ("MIT", "unknown")


def test_a_file_that_changed_and_a_manifest_with_mistakes_are_problems_not_errors(manifest, models):
    locate(manifest, [models])
    (models / "words.txt").write_text("cow\n")
    assert "words.txt has changed since it was recorded; run: srcache models verify" in bundle_state(manifest).problem
    manifest.write_text("parts: 3")
    assert "parts is of the wrong type: 3" in bundle_state(manifest).problem
    assert bundle_state(manifest).parts == 0


def test_a_bundle_that_an_engine_makes_is_never_missing(made):
    state = bundle_state("small")
    assert (state.made, state.missing, state.problem, state.bytes) == (True, (), None, 0)
    assert state.digest == made.digest
    locate("small")
    assert bundle_state("small").bytes == len("net of small") + len("cat")


def test_shipped_bundles_come_first_then_those_of_own_manifests(manifest, models):
    assert [state.name for state in bundle_states()] == shipped_manifests()
    locate(manifest, [models])
    assert [state.name for state in bundle_states()] == [*shipped_manifests(), str(manifest)]


def test_a_record_is_named_by_its_manifest_or_by_the_beginning_of_its_digest(manifest, models):
    with pytest.raises(WeightsError, match=r"were never found complete on this machine; run: srcache models fetch"):
        choose_record(str(manifest))
    digest = locate(manifest, [models])
    (models / "words.txt").write_text("other\n")
    other = locate(manifest, [models])
    assert choose_record(str(manifest)) == other
    assert (choose_record(digest), choose_record(other)) == (digest, other)
    assert choose_record("no digest") is None
    with pytest.raises(WeightsError, match="2 bundles begin with ''; `srcache models list` shows them"):
        choose_record("")


def test_an_audit_reports_what_is_gone_and_what_is_damaged_and_hashes_each_file_once(manifest, models, monkeypatch):
    digest = locate(manifest, [models])
    record = recorded()[digest]
    assert list(verify_bundles([record])) == []
    (models / "words.txt").write_text("cow\ndog\n")
    (models / "mine/unet/config.json").unlink()
    hashed, digest_of = [], digests.file_digest
    monkeypatch.setattr(digests, "file_digest", lambda path: (hashed.append(path.name), digest_of(path))[1])
    found = list(verify_bundles([record, replace(record, name="again")]))
    assert [(one.bundle, one.part, one.damaged) for one in found] == [
        (str(manifest), "net.config", False),
        (str(manifest), "tags", True),
        ("again", "net.config", False),
        ("again", "tags", True),
    ]
    assert isinstance(found[0], Damage)
    assert "config.json is not there any more" in found[0].detail
    assert "words.txt has changed since it was recorded" in found[1].detail
    assert sorted(hashed) == sorted(["net.safetensors", "words.txt", record.parts["other"].path.name])


def test_what_an_engine_finds_wrong_with_its_files_stops_locating_and_is_reported_by_an_audit(
    manifest, models, monkeypatch
):
    seen = []

    def check(parts):
        seen.append({name: path.name for name, path in parts.items()})
        if len(seen) != 1:
            raise WeightsError("config.json does not say how many")

    monkeypatch.setattr(bundle, "find_engine", lambda name: SimpleNamespace(check_weights=check))
    digest = locate(manifest, [models])
    assert seen[0]["net.config"] == "config.json"
    (one,) = verify_bundles([recorded()[digest]])
    assert (one.part, one.detail, one.damaged) == ("(its files together)", "config.json does not say how many", True)
    assert locate(manifest, [models]) == digest, "what was recorded is not looked at again"
    assert len(seen) == 2
    (models / "words.txt").write_text("owl")
    with pytest.raises(WeightsError, match="does not say how many"):
        locate(manifest, [models])


@pytest.mark.parametrize("text", ["<html>Sign in</html>", '{"cut": '])
def test_a_broken_file_of_the_right_name_and_time_is_a_problem_in_lists_and_audits(manifest, models, text):
    path = models / "mine/unet/config.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match="1 files cannot be used") as caught:
        locate(manifest, [models])
    assert f"delete {path}, and run" in str(caught.value)
    path.write_text("{}")
    digest = locate(manifest, [models])
    record = recorded()[digest]
    path.write_text(text)
    state, old = path.stat(), record.parts["net.config"]
    kept = replace(old, size=state.st_size, mtime=state.st_mtime_ns, loads=digests.file_digest(path), sha256=old.sha256)
    digests.write_record(
        digest, replace(record, parts={**record.parts, "net.config": kept}), load_manifest(manifest).key
    )
    assert str(path) in (bundle_state(manifest).problem or "")
    (one,) = verify_bundles([recorded()[digest]])
    assert (one.part, one.damaged) == ("net.config", True)


@pytest.mark.medium
def test_an_engine_s_own_weights_are_found_by_the_engine_which_says_what_is_wrong(monkeypatch, tmp_path):
    assert engine_weights("test-noise") == EngineWeights(engine="test-noise", digest=None)
    monkeypatch.setattr(Noise, "info", replace(Noise.info, weights="0" * 64))
    assert engine_weights("test-noise").digest == "0" * 64
    monkeypatch.setattr(Noise, "weights_file", staticmethod(lambda: tmp_path / "net"), raising=False)
    assert engine_weights("test-noise").path == tmp_path / "net"
    for error, damaged in ((WeightsError("not here"), False), (DamagedError("other bytes"), True)):

        def failing(error=error):
            raise error

        monkeypatch.setattr(Noise, "weights_file", staticmethod(failing))
        found = engine_weights("test-noise")
        assert (found.problem, found.damaged, found.path) == (str(error), damaged, None)
        assert found in of_engines()
