"""Copies that are no larger than a size."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from srcache.catalog.scanning import scan
from srcache.images import decode, encode
from srcache.study.prepare.smaller import fit_within, make_smaller


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((40, 20), 10, (10, 5)), ((20, 40), 10, (5, 10)), ((8, 8), 10, (8, 8)), ((100, 1), 10, (10, 1))],
)
def test_the_longer_side_is_at_most_so_long_and_the_aspect_stays(
    size: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    rgb = np.full((*size, 3), 7, np.uint8)
    found = fit_within(rgb, longest)
    assert found.shape[:2] == expected
    assert (found == 7).all()
    assert size != expected or found is rgb


def _folder(home: Path, files: Mapping[str, tuple[int, int]]) -> Path:
    for number, (name, size) in enumerate(files.items()):
        path = home / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.full((*size, 3), number, np.uint8), "png"))
    return home / "photos"


def test_every_image_has_a_copy_and_twice_is_the_same_as_once(tmp_path: Path) -> None:
    names: dict[str, tuple[int, int]] = {"cat/a.png": (30, 20), "cat/b.JPG": (9, 9), "dog/b.png": (12, 48)}
    photos = _folder(tmp_path, names | {"dog/b.webp": (8, 8)})
    (photos / "dog/none.png").touch()
    made = make_smaller(scan(photos), tmp_path / "out", 12)
    assert (made.written, made.kept, [problem.reason for problem in made.failures]) == (4, 0, ["empty"])
    sizes = {
        path.relative_to(tmp_path / "out").as_posix(): decode(path.read_bytes()).shape[:2]
        for path in (tmp_path / "out").rglob("*.png")
    }
    assert sizes == {
        "cat/a.png": (12, 8),
        "cat/b.png": (9, 9),
        "dog/b.png.png": (3, 12),
        "dog/b.webp.png": (8, 8),
    }
    again = make_smaller(scan(photos), tmp_path / "out", 12)
    assert (again.written, again.kept) == (0, 4)
