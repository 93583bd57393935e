"""Tables of image quality: read by name in one Unicode form; what is no such table is said with its line."""

import math
import unicodedata

import pytest

from srcache.errors import ConfigError
from srcache.server.gallery.quality import read_quality


def test_a_folder_or_its_table_is_read(home):
    found = read_quality(home / "quality")
    assert found == read_quality(home / "quality/quality.csv")
    assert found["psnr"] == {"Möwen & Co/erste möwe": 31.5, "wörter/letzte": 28.25, "wörter/doppelt": math.inf}
    assert set(found["lpips"]) == {"Möwen & Co/erste möwe", "wörter/doppelt"}, "an empty cell is no number"


def test_names_are_compared_in_one_form(tmp_path):
    (tmp_path / "quality.csv").write_text(unicodedata.normalize("NFD", "name,psnr\nmöwe,1\n"), encoding="utf-8")
    assert read_quality(tmp_path)["psnr"] == {"möwe": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are not name and one for each metric"),
        ("name\na\n", "its columns are not name"),
        ("name,psnr,psnr\n", "its columns are not name"),
        ("name,psnr\na,1,2\n", "line 2: expected 2 cells, but got 3"),
        ("name,psnr\na,1\nb,nan\n", "line 3: 'nan' is no number"),
        ("name,psnr\na,x\n", "line 2: 'x' is no number"),
        ("\udcff", "no table of image quality"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    (tmp_path / "quality.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        read_quality(tmp_path)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="`srcache eval images --test CACHE --out DIR` writes one"):
        read_quality(tmp_path)
