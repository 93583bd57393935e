"""`srcache explain`: a hit, a miss, and mistakes."""

import pytest

from srcache.keys import file_key


def test_what_explain_prints(home, srcache):
    image = "photos/größe 1/bild 1.ppm"
    assert srcache("explain", "cache", image, "--recipe", "bicubic", "--set", "scale=2").out == (
        "hit: it is stored\n"
        f"image          {image}\n"
        f"key            {file_key(home / image)}\n"
        "recipe         bicubic-acbb464ab9619f0b\n"
        f"entries        {file_key(home / image)}-000\n"
        "catalogued as  größe 1/bild 1.ppm\n"
        "also held      lanczos-d9b6f661a66b48ba (options.filter lanczos) lacks it\n"
    )
    miss = srcache("explain", "cache", image, "--recipe", "lanczos")
    assert miss.code == 0
    assert miss.out.startswith(
        "miss: the cache does not hold this recipe; the most similar one, lanczos-d9b6f661a66b48ba"
    )
    assert "differs in scale (asked 4, cached 2)" in miss.out


def test_many_samples_are_cut_short(home, srcache):
    (home / "noisy.yaml").write_text("engine: test-noise\nscale: 2\nseed: 7\n")
    image = home / "one/größe 1/bild 0.ppm"
    words = ["--recipe", "noisy.yaml", "--samples", 5, "--device", "cpu"]
    assert srcache("build", "one", "--cache", "cache", *words).code == 0
    key = file_key(image)
    printed = srcache("explain", "cache", image, "--recipe", "noisy.yaml").out
    assert f"entries        {key}-000, {key}-001, {key}-002, … (5 samples)\n" in printed


def test_several_mistakes_in_a_recipe_are_reported_at_once(home, srcache):
    printed = srcache(
        "explain", "cache", "one/größe 1/bild 0.ppm", "--recipe", "bicubic", "--set", "scale=0", "--set", "x=1"
    )
    assert "unknown field x" in printed.err
    assert "scale must be a number above 0" in printed.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache missing.png --recipe bicubic", "File 'missing.png' does not exist"),
        ("cache photos --recipe bicubic", "File 'photos' is a directory"),
        ("cache one.png", "does not exist"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"explain {line}", message)
