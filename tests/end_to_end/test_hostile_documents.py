"""Recipes, configurations, files of caches, runs and studies, changed at random: errors in words, and no hang."""

import io
import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from images import picture
from mutated_documents import ALIASES, mutated, within
from PIL import Image
from report_folder import StudySettings, make_study
from safety_study import built
from srcache_cli.main import run
from tiny_experiment import make_images, tiny
from train_study import QUICK, arm_sets, make_stripes

from srcache.catalog import scan
from srcache.catalog.scanned import write_scanned
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.scores import ABOUT, TABLE
from srcache.errors import SrcacheError
from srcache.files import shipped_texts
from srcache.fill import FillSettings, fill
from srcache.recipe import dump, load_recipe
from srcache.study.experiment import load_experiment
from srcache.study.experiment.steps import finish_step, reusable, started_with
from srcache.study.prepare import make_lr
from srcache.study.prepare.samples import make_faces
from srcache.study.safety import measure_safety, source_images
from srcache.study.train.loop import train_run
from srcache.study.train.runs import open_run, read_history
from srcache.weights.checkpoint import EngineCheck, check_of, record_check
from srcache.weights.digests import RecordedFile, WeightsRecord, read_weights_record, write_record
from srcache.weights.manifest import load_manifest

Act = Callable[[], object]
LONGEST = 10
NEW = "{new}"
"""In the words of a command: a folder that is not there yet."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A document, what kind it is, and what reads it. A command that is read by is given as its words."""

    file: Path
    kind: str
    reads: tuple["Act | list[object]", ...]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def few_targets(home: Path) -> list[Target]:
    """Documents that are made fast, each whole."""
    for label in ("across", "down"):
        folder = home / "stripes/hr/test" / label
        folder.mkdir(parents=True)
        for number in range(2):
            Image.fromarray(picture(8, 12, number + len(label))).save(folder / f"{label} {number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRCACHE_HOME", str(home / "user"))
        make_lr(home / "stripes/hr/test", home / "stripes/lr/test", 2)
        return [*_of_caches(home, "lmdb"), *_of_users(home), *_of_weights(home), *_of_steps(home)]


@pytest.fixture(scope="module")
def targets(home: Path, few_targets: list[Target]) -> list[Target]:
    """All of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRCACHE_HOME", str(home / "user"))
        return [*few_targets, *_of_caches(home, "shards"), *_of_studies(home)]


def _of_caches(home: Path, *stores: str) -> Iterator[Target]:
    photos, cache = home / "stripes/lr/test", home / "cache"
    if not (home / "bad").exists():
        shutil.copytree(photos, home / "bad/across")
        (home / "bad/across/broken.png").write_bytes(b"no image")
    for store in stores:
        place = cache.with_name(f"cache-{store}")
        fill(scan(home / "bad"), load_recipe("bicubic"), place, FillSettings(device="cpu", store=store))
        folder = next(path for path in place.iterdir() if path.name.startswith("bicubic"))
        image = next(photos.rglob("*.png"))
        reads: tuple[list[object], ...] = (
            ["info", place],
            ["verify", place],
            ["build", photos, "--cache", place, "--recipe", "bicubic", "--device", "cpu"],
            ["explain", place, image, "--recipe", "bicubic"],
            ["prune", place, "bicubic"],
            ["view", place, "--lr", photos, "--out", home / "gallery.html"],
            ["export", place, NEW, "--names"],
            ["export", place, NEW, "--join", "--lr", photos],
            ["export", place, NEW, "--format", "hf"],
            ["merge", place, "--into", NEW],
        )
        yield Target(file=place / "srcache.json", kind="json", reads=reads)
        yield Target(file=folder / "recipe.yaml", kind="yaml", reads=reads)
        yield Target(file=next((folder / "receipts").iterdir()), kind="json", reads=reads)
        yield Target(file=next(folder.rglob("*.jsonl")), kind="jsonl", reads=reads)
        yield Target(file=next((place / "catalogs").iterdir()), kind="csv", reads=reads)


def _of_users(home: Path) -> Iterator[Target]:
    image = next((home / "stripes").rglob("*.png"))
    recipe = home / "mine.yaml"
    recipe.write_text(dump(load_recipe("bicubic", {"degradation": "bicubic/2"})))
    yield Target(file=recipe, kind="yaml", reads=(["explain", home / "cache-lmdb", image, "--recipe", recipe],))
    options = home / "options.yaml"
    options.write_text("json: true\nrecipe: bicubic\nset: {scale: 2, options.filter: box}\n")
    options.write_text("recipe: bicubic\nset: {scale: 2, options.filter: box}\n")
    yield Target(file=options, kind="yaml", reads=(["explain", home / "cache-lmdb", image, "--config", options],))
    study = home / "study.yaml"
    study.write_text(yaml.safe_dump(tiny(make_images(home / "tiny")).plain(), sort_keys=False))
    yield Target(file=study, kind="yaml", reads=(lambda: load_experiment(study),))
    manifest = home / "weights.yaml"
    source = {"licence": "MIT", "hub": ["a/b@main", {"repo": "c/d", "folder": "in"}], "folders": ["models/x"]}
    files = {"unet": "unet.safetensors", "vae": {"path": "vae/vae.pth", "sha256": "ab" * 32}}
    plain = {"summary": "x", "engine": "seesr", "parts": {"unet": "mine", "vae": "mine"}}
    manifest.write_text(yaml.safe_dump({**plain, "sources": {"mine": {**source, "files": files}}}))
    yield Target(file=manifest, kind="yaml", reads=(lambda: load_manifest(manifest),))
    table = home / "answers.csv"
    table.write_text("name,label,prediction,p_a,p_b\n" + "".join(f"n{at},a,b,0.25,0.75\n" for at in range(6)))
    yield Target(file=table, kind="csv", reads=(["eval", "classifiers", "--predictions", f"x={table}"],))
    quality = home / "quality.csv"
    quality.write_text("name,psnr,lpips\nacross/across 0,30.5,0.25\ndown/down 0,inf,\n")
    shown: list[object] = ["view", home / "cache-lmdb", "--quality", quality, "--out", home / "gallery.html"]
    yield Target(file=quality, kind="csv", reads=(shown,))
    scanned = home / "scanned.csv"
    write_scanned(scan(home / "stripes/lr/test"), scanned)
    reads = ["build", scanned, "--cache", home / "cache-lmdb", "--recipe", "bicubic", "--device", "cpu"]
    yield Target(file=scanned, kind="csv", reads=(reads, ["prepare", "split", scanned, NEW]))
    for name in ("few-shot", "mixture"):
        swept = home / f"{name}.yaml"
        swept.write_text(shipped_texts("experiments")[name])
        yield Target(file=swept, kind="yaml", reads=(lambda swept=swept: load_experiment(swept),))  # type: ignore[misc]
    listed = home / "stripes/hr/images.csv"
    listed.write_text("path,label\n" + "".join(f"test/{at}/{at} 0.png,{at}\n" for at in ("across", "down")))
    yield Target(file=listed, kind="csv", reads=(["scan", listed, "--out", home / "catalog.csv", "--force"],))


def _of_weights(home: Path) -> Iterator[Target]:
    digest, kept = (
        "ab" * 32,
        RecordedFile(
            sha256="cd" * 32,
            path=home,
            loads="ef" * 32,
            size=1,
            mtime=2,
            ctime=3,
            origin="x",
            licence="MIT",
            identity="y",
        ),
    )
    write_record(digest, WeightsRecord(name="x", engine="seesr", parts={"unet": kept}))
    record_check(digest, EngineCheck(engine="x", scale=4, problem=None, versions={"torch": "1"}))
    bundles = home / "user/weights"
    yield Target(file=bundles / f"bundles/{digest}.json", kind="json", reads=(lambda: read_weights_record(digest),))
    yield Target(file=bundles / f"{digest}.check.json", kind="json", reads=(lambda: check_of(digest),))


def _of_steps(home: Path) -> Iterator[Target]:
    inputs = {"a": 1, "b": ["x"]}
    (home / "steps").mkdir()
    (home / "written").write_text("x")
    finish_step(home, "step", inputs, [home / "written"], {"c": 2}, 1.5)
    reads = (lambda: reusable(home, "step", inputs), lambda: started_with(home, "step"))
    yield Target(file=home / "steps/step.json", kind="json", reads=reads)
    make_lr(home / "stripes/hr/test", home / "small", 2)
    marker = next(path for path in (home / "small").iterdir() if path.is_file())
    yield Target(
        file=marker, kind="json", reads=(["prepare", "lr", home / "stripes/hr/test", home / "small", "--factor", 2],)
    )


def _of_studies(home: Path) -> Iterator[Target]:
    stripes = make_stripes(home / "study")
    train_run(arm_sets(stripes), home / "run", QUICK)
    answers = ["predict", home / "run", stripes / "lr/test", "--out", home / "out.csv"]
    yield Target(file=home / "run/run.json", kind="json", reads=(lambda: open_run(home / "run"), answers))
    yield Target(file=home / "run/history.csv", kind="csv", reads=(lambda: read_history(home / "run"),))
    make_faces(home / "faces")
    marker = next(path for path in (home / "faces").iterdir() if path.is_file())
    yield Target(file=marker, kind="json", reads=(lambda: make_faces(home / "faces"),))
    make_study(home / "report", StudySettings(count=3, size=16, seeds=(0, 1), epochs=2))
    yield Target(file=home / "report/results.json", kind="json", reads=(["report", home / "report"],))
    photos = home / "stripes/lr/test"
    folder = built(photos, load_recipe("bicubic"))
    measure_safety(folder, source_images(folder, photos))
    words: list[object] = ["safety", folder.path.parent, "--lr", photos]
    shown: list[object] = ["view", folder.path.parent, "--out", home / "gallery.html"]
    served = lambda: SRAugmentedDataset(photos, folder.path.parent, policy="sr[safe>0.5]=1,lr=1")[0]  # noqa: E731
    for file in (TABLE, ABOUT):
        yield Target(file=folder.path / file, kind=file.rpartition(".")[2], reads=(words, shown, served))


def campaign(targets: list[Target], count: int, seed: int, heavy: bool) -> list[str]:
    """Change documents at random, one at a time, and read each; what came out but an error in words."""
    rng, bad = random.Random(seed), list[str]()
    usable = [(target, [read for read in target.reads if heavy or _is_light(read)]) for target in targets]
    usable = [(target, reads) for target, reads in usable if reads]
    for number in range(count):
        target, reads = usable[number % len(usable)]
        whole = target.file.read_bytes()
        data = mutated(whole.decode(), rng, target.kind)
        read = rng.choice(reads)
        target.file.write_bytes(data)
        try:
            bad += [f"{number} {target.file.name} {_words(read)[:2]}: {one} {data[:300]!r}" for one in _read(read)]
        finally:
            target.file.write_bytes(whole)
    return bad


@contextmanager
def _aside(out: io.StringIO, err: io.StringIO) -> Iterator[str]:
    """Around a read: what it prints is kept, what it warns of is not; gives a folder for what it writes."""
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(), TemporaryDirectory() as new:
        warnings.simplefilter("ignore")
        yield new


def _is_light(read: "Act | list[object]") -> bool:
    return callable(read) or read[0] in ("info", "explain", "prune", "eval", "scan", "prepare", "report")


def _words(read: "Act | list[object]") -> list[str]:
    return ["call"] if callable(read) else [str(word) for word in read]


def _read(read: "Act | list[object]") -> Iterator[str]:
    """Nothing, where an error in words came; else what did."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with within(LONGEST), _aside(out, err) as new:
            code = 0
            if callable(read):
                read()
            else:
                code = run([word.replace(NEW, f"{new}/out") for word in _words(read)])
    except SrcacheError as error:
        if len(str(error)) > 30_000:
            yield f"a message of {len(str(error))} characters"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        yield f"{type(error).__name__}: {str(error)[:300]}"
    else:
        if code not in (0, 1, 2, 3, 4):
            yield f"exit {code}: {err.getvalue()[-400:]}"
        if len(err.getvalue()) > 30_000:
            yield f"a message of {len(err.getvalue())} characters"


@pytest.mark.medium
def test_two_hundred_changed_documents(few_targets: list[Target], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(home / "user"))
    bad = campaign(few_targets, 200, 1, heavy=False)
    assert not bad, "\n".join(bad)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_thousand_changed_documents(
    targets: list[Target], home: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(home / "user"))
    bad = campaign(targets, 500, 100 + seed, heavy=True)
    assert not bad, "\n".join(bad)


MADE = {"catalog.csv", "out.csv"}
"""What the campaign's own commands write: a scanned catalog and predictions, which are changed under other names."""


@pytest.mark.slow
def test_no_kind_of_document_is_left_out(targets: list[Target], home: Path) -> None:
    """Each document that lies on the disk is changed by the campaign, or one of its kind is; memos of keys, which
    begin with their own digest and are written once files are old enough, are changed in `tests/catalog`."""
    kinds = {_kind(target.file) for target in targets}
    files = [path for path in home.rglob("*") if path.suffix in (".json", ".jsonl", ".yaml", ".csv")]
    found = {_kind(path) for path in files if path.parent.name != "memo"}
    assert found - kinds - MADE == set()


def _kind(path: Path) -> str:
    """A document's name, without what differs from one to the next; its folder's, where only that says what it is."""
    many = path.parent.name in ("receipts", "catalogs", "bundles", "failures")
    return f"{path.parent.name}/…" if many else path.name


def test_a_bomb_of_aliases_in_a_cache_s_recipe_hangs_no_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_images(tmp_path / "in")
    fill(scan(tmp_path / "in"), load_recipe("bicubic"), tmp_path / "cache", FillSettings(device="cpu"))
    folder = next(path for path in (tmp_path / "cache").iterdir() if path.name.startswith("bicubic"))
    (folder / "recipe.yaml").write_text(ALIASES)
    with within(LONGEST):
        code = run(["info", str(tmp_path / "cache"), "--json"])
    out, err = capfd.readouterr()
    assert code == 3 if code else "alias" in out + err
    assert json.loads(out)["schema"] == "srcache.info/1"
