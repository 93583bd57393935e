"""LR copies: Pillow's resize as oracle, names kept, what cannot be read counted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_commands import images

from srcache.catalog.scanning import scan
from srcache.errors import RecipeError
from srcache.images import Pixels, decode
from srcache.study.prepare.lr import make_lr


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
    Image.fromarray(make_image(15, 7)).save(tmp_path / "hr/a.b.png")
    make_lr(tmp_path / "hr", tmp_path / "lr", 6)
    assert decode((tmp_path / "lr/a.b.png").read_bytes()).shape == (3, 1, 3)


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
