"""LR copies: Pillow's resize as oracle, names kept, what cannot be read counted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_commands import images

from srcache.catalog.scanning import scan
from srcache.errors import ConfigError, RecipeError
from srcache.images import Pixels, decode
from srcache.study.prepare.lr import Shrinking, make_lr


@pytest.mark.parametrize("filter", ["bicubic", "lanczos", "box"])
def test_lr_is_pillows_resize(photos: Path, tmp_path: Path, filter: str) -> None:
    done = make_lr(photos, tmp_path / "lr", 4, filter)
    assert (done.written, done.kept, done.failures) == (12, 0, ())
    names = {str(Path(row.name).with_suffix(".png")) for row in scan(photos).rows}
    assert images(tmp_path / "lr").keys() == names
    for row in scan(photos).rows:
        hr = Image.open(photos / row.name)
        expected = hr.resize((hr.width // 4, hr.height // 4), Image.Resampling[filter.upper()])
        found = decode((tmp_path / "lr" / Path(row.name).with_suffix(".png")).read_bytes())
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_lr_of_sides_that_do_not_divide(tmp_path: Path, make_image: Callable[..., Pixels]) -> None:
    (tmp_path / "hr").mkdir()
    rgb = make_image(15, 7)
    Image.fromarray(rgb).save(tmp_path / "hr/a.b.png")
    make_lr(tmp_path / "hr", tmp_path / "lr", 6)
    expected = Image.fromarray(rgb[:12, :6]).resize((1, 2), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(decode((tmp_path / "lr/a.b.png").read_bytes()), np.asarray(expected))
    make_lr(tmp_path / "hr", tmp_path / "rounded", 6, mod_crop=False)
    assert decode((tmp_path / "rounded/a.b.png").read_bytes()).shape == (3, 1, 3)


def test_a_side_shorter_than_the_factor_stays(tmp_path: Path, make_image: Callable[..., Pixels]) -> None:
    (tmp_path / "hr").mkdir()
    Image.fromarray(make_image(13, 3)).save(tmp_path / "hr/a.png")
    make_lr(tmp_path / "hr", tmp_path / "lr", 6)
    assert decode((tmp_path / "lr/a.png").read_bytes()).shape == (2, 1, 3)


def test_a_folder_that_was_begun_without_mod_crop_is_completed_without_it(photos: Path, tmp_path: Path) -> None:
    make_lr(photos, tmp_path / "lr", 4, mod_crop=False)
    marker = json.loads((tmp_path / "lr/prepare.json").read_text())
    assert marker["parameters"] == {"degradation": "bicubic/4"}, "as folders say that were made before mod-crop"
    assert make_lr(photos, tmp_path / "lr", 4, mod_crop=False).kept == 12
    with pytest.raises(ConfigError, match="mod_crop: not set there, true asked for"):
        make_lr(photos, tmp_path / "lr", 4)


def test_mod_crop_is_true_or_false() -> None:
    with pytest.raises(RecipeError, match="mod_crop must be true or false, but is 'no'"):
        Shrinking(factor=4, mod_crop="no")  # type: ignore[arg-type]


def test_unusable_images_are_counted_and_listed(photos: Path, tmp_path: Path) -> None:
    (photos / "moss/moss0.png").write_bytes(b"")
    (photos / "moss/moss1.png").write_text("not an image")
    data = (photos / "moss/moss2.png").read_bytes()
    (photos / "moss/moss2.png").write_bytes(data[: len(data) // 2])
    (photos / "gravel/out.png").symlink_to(tmp_path / "x.png")
    done = make_lr(photos, tmp_path / "lr", 2)
    assert done.failed == {"empty": 1, "truncated": 1, "unreadable": 2}
    assert {problem.name for problem in done.failures} == {
        "gravel/out.png",
        "moss/moss0.png",
        "moss/moss1.png",
        "moss/moss2.png",
    }
    assert done.written == len(images(tmp_path / "lr")) == 9


def test_a_degradation_that_there_is_not(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="filter"):
        make_lr(photos, tmp_path / "lr", 2, "cubic")
    with pytest.raises(RecipeError, match="factor"):
        make_lr(photos, tmp_path / "lr", 1)
    assert not (tmp_path / "lr").exists()
