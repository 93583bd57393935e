"""Write a small cache and a trained run as this version of srcache writes them, for later versions to open.

    python tests/golden/caches/write.py tests/golden/caches/VERSION

The folder gets `photos/` (odd names, equal bytes, an empty and a cut-off file), `*.yaml` (a lossless recipe, a lossy
one with a degradation, one that draws noise), `cache/` of all three (two samples of the noisy one), `run/`,
`training.csv` it was trained on, and `expected.json`: what a reader must find in them. Once written, it is not changed.
"""

import json
import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

TESTS = Path(__file__).parents[2]
RECIPES = {
    "plain": "engine: resample\nscale: 2\n",
    "small": "engine: resample\nscale: 2\ndegradation: bicubic/2\nsize: source\ncodec: jpeg:90\n",
    "noisy": "engine: test-noise\nscale: 2\nseed: 7\noptions: {strength: 0.1}\n",
}
POLICIES = {"plain": "lr=0.5,sr=0.5", "small": "hr=1,lr=1,sr=1", "noisy": "sr"}
FOLDERS = ("Möwen & Co", "wörter")


def make_photos(folder: Path) -> list[str]:
    """Seven pictures that can be read and two that cannot; the names of the first."""
    noise = np.random.default_rng(1)
    names = ["erste möwe.png", "v1.2 final.jpg", "日本.webp", "doppelt.png", "letzte.png", "wand.png"]
    for number, name in enumerate(names):
        low = noise.integers(0, 256, (4, 4, 3), np.uint8)
        file = folder / FOLDERS[number % 2] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(low).resize((10, 8 + 2 * (number % 2)), Image.Resampling.BICUBIC).save(file)
    whole = (folder / FOLDERS[1] / names[3]).read_bytes()
    (folder / FOLDERS[1] / "doppelt nochmal.png").write_bytes(whole)
    (folder / FOLDERS[0] / "abgeschnitten.png").write_bytes(whole[: len(whole) // 2])
    (folder / FOLDERS[0] / "leer.png").touch()
    return sorted(f"{FOLDERS[number % 2]}/{name}" for number, name in enumerate(names))


def run(folder: Path, *words: str, code: int = 0) -> dict:
    """One command of srcache in a folder; its JSON document."""
    command = [sys.executable, "-m", "srcache_cli.main", *words, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return json.loads(done.stdout)


def stored(folder: Path, recipe: str) -> dict[str, dict[str, str]]:
    """What LMDB itself finds in a recipe's store: images and records by the digests of their bytes, and aliases."""
    (path,) = (folder / "cache").glob(f"{recipe}-*/data.lmdb")
    with lmdb.open(str(path), readonly=True, lock=False, max_dbs=3) as env:
        tables = {name: env.open_db(name.encode(), create=False) for name in ("images", "records", "aliases")}
        with env.begin() as look:
            found = {n: {bytes(k).decode(): bytes(v) for k, v in look.cursor(db=db)} for n, db in tables.items()}
    meanings = {alias: meaning.decode() for alias, meaning in found.pop("aliases").items()}
    return {
        **{table: {n: digest(v) for n, v in values.items()} for table, values in found.items()},
        "aliases": meanings,
    }


def served(folder: Path, recipe: str) -> list[list[str]]:
    """For two epochs, what the data set serves: shape and digest of the pixels of every item, and its label."""
    from srcache import SRAugmentedDataset

    base = folder / "training.csv"
    data = SRAugmentedDataset(base, cache=folder / "cache", recipe=recipe, policy=POLICIES[recipe], seed=5)
    epochs = []
    for epoch in range(2):
        data.set_epoch(epoch)
        epochs.append([f"{label} {image.size} {digest(image.tobytes())}" for image, label in data])
    return epochs


def expected(folder: Path) -> dict:
    """All that a later version must find."""
    run(folder, "predict", "run", "training.csv", "--out", "predictions.csv")
    predictions = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    (folder / "predictions.csv").unlink()
    return {
        "stored": {recipe: stored(folder, recipe) for recipe in RECIPES},
        "served": {recipe: served(folder, recipe) for recipe in RECIPES},
        "predictions": predictions,
    }


def write(folder: Path) -> None:
    """Make all of it in a folder that is new."""
    folder.mkdir(parents=True)
    names = make_photos(folder / "photos")
    rows = [f"photos/{name},{FOLDERS.index(name.partition('/')[0])}" for name in names]
    (folder / "training.csv").write_text("path,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for name, text in RECIPES.items():
        (folder / f"{name}.yaml").write_text(text)
        samples = ("--samples", "2") if name == "noisy" else ()
        run(folder, "build", "photos", "--cache", "cache", "--recipe", f"{name}.yaml", *samples, code=1)
    settings = ("network=small:4", "epochs=2", "batch_size=4", "size=16", "device=cpu", "precision=fp32")
    changes = [word for setting in settings for word in ("--set", setting)]
    arm = ("--lr", "training.csv", "--cache", "cache", "--recipe", "plain", "--arm", "sr", "--validation", "0.34")
    run(folder, "train", *arm, "--out", "run", *changes)
    found = expected(folder)
    for needless in (*folder.rglob("lock.mdb"), *folder.rglob("lock"), folder / "run/curves.png"):
        needless.unlink()
    text = json.dumps(found, ensure_ascii=False, indent=1)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS / "support"), str(TESTS)]
    import conftest  # noqa: F401  the test engines, and a private SRCACHE_HOME

    os.environ["SRCACHE_HOME"] += "-golden"
    write(Path(sys.argv[1]))
