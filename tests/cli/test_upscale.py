"""`srcache upscale`: files for the next program on stdout, the rest on stderr."""

from pathlib import Path

import engines
import pytest
from command_lines import recipe_words


def test_what_upscale_prints(home, srcache):
    images = ["photos/größe 1/bild 0.ppm", "photos/größe 1/leer.png"]
    printed = srcache("upscale", *images, "--out", "up", *recipe_words("bicubic"))
    assert printed.code == 1
    assert printed.out == "up/bild 0.png\n", "only files on stdout, for the next program"
    assert printed.err.startswith("1 image by bicubic-acbb464ab9619f0b in ")
    assert printed.err.endswith("1 image failed\n  empty: photos/größe 1/leer.png: the file has no bytes\n")
    assert srcache("upscale", images[0], "--out", "up", *recipe_words("bicubic")).code == 2
    assert srcache("upscale", images[0], "--out", "up", "--force", *recipe_words("bicubic")).code == 0


def test_several_samples_are_several_files(home, srcache):
    Path("noisy.yaml").write_text("engine: test-noise\nscale: 2\nseed: 7\n")
    words = ["--recipe", "noisy.yaml", "--samples", 2, "--device", "cpu", "--out", "up"]
    printed = srcache("upscale", "photos/größe 1/bild 0.ppm", *words)
    assert printed.out == "up/bild 0-000.png\nup/bild 0-001.png\n"
    first, second = (path.read_bytes() for path in sorted(Path("up").iterdir()))
    assert first != second


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("photos --recipe bicubic --out out", "is a directory"),
        ("--recipe bicubic --out out", "Missing argument 'IMAGES...'"),
        ("cache/srcache.json --recipe bicubic --set seed=1 --out out", "draws no noise; leave seed out"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"upscale {line}", message)


def test_a_batch_that_is_asked_for_is_the_engine_s(home, srcache, make_image, monkeypatch):
    seen, upscale = [], engines.Shapes.upscale
    noting = lambda self, images, seeds: (seen.append(len(images)), upscale(self, images, seeds))[1]  # noqa: E731
    monkeypatch.setattr(engines.Shapes, "upscale", noting)
    Path("r.yaml").write_text("engine: test-shapes\nscale: 2\n")
    words = ["--recipe", "r.yaml", "--device", "cpu", "--out", "up", "--force"]
    for more in ([], ["--batch", 1]):
        assert srcache("upscale", "photos/größe 1/bild 0.ppm", *words, *more).code == 0
    assert seen == [4, 1]
