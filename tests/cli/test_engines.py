"""`srcache engines`: the installed engines, also one that does not load."""

import json


def test_what_engines_prints(home, srcache):
    engines = srcache("engines").out
    assert "\nresample\ndoes " in f"\n{engines}"
    assert "filter=bicubic [nearest, bilinear, bicubic, lanczos]  Pillow's resampling filter" in engines
    assert "code Apache-2.0; weights: none needed" in engines
    assert "scales     ×2, ×4" in engines


def test_engines_that_draw_noise_or_tile_say_so(srcache):
    blocks = {block.partition("\n")[0]: block for block in srcache("engines").out.split("\n\n")}
    assert "can        draws noise" in blocks["test-noise"]
    assert "can" not in blocks["resample"].split()


def test_a_broken_engine_is_listed_with_its_error(srcache, broken_engine):
    printed = srcache("engines")
    assert printed.code == 0
    assert "strange\nbroken  engine strange is installed but does not load: OSError('libstrange.so is" in printed.out
    assert "resample\ndoes " in printed.out
    document = json.loads(srcache("engines", "--json").out)
    [strange] = [one for one in document["result"]["engines"] if one["name"] == broken_engine]
    assert (strange["info"], "libstrange.so" in strange["error"]) == (None, True)
