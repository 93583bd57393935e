"""Names of shards: which files of a folder are shards, complete or not, and whose they are."""

from pathlib import Path

import pytest

from srcache.stores.shard_index import Shard
from srcache.stores.shard_names import is_partial, is_shard, new_writer, shards_in, writer_of

NAME = "00000007-1a2b3c4d.tar"


def test_a_name_says_whether_a_shard_is_complete_and_who_wrote_it() -> None:
    assert (is_shard(NAME), is_partial(NAME), writer_of(NAME)) == (True, False, "1a2b3c4d")
    partial = f"{NAME}.partial"
    assert (is_shard(partial), is_partial(partial), writer_of(partial)) == (False, True, "1a2b3c4d")


@pytest.mark.parametrize(
    "name", [f".{NAME}", f"{NAME}.idx", "7-1a2b3c4d.tar", "00000007-1A2B3C4D.tar", f"{NAME}.partial.partial", "", "x"]
)
def test_other_files_are_no_shards(name: str) -> None:
    assert not is_shard(name)
    assert not is_partial(name)
    assert not is_partial(f".{NAME}.partial")


def test_writers_have_ids_of_their_own() -> None:
    ids = {new_writer() for _ in range(100)}
    assert len(ids) == 100
    assert all(is_shard(f"00000000-{one}.tar") for one in ids)


def test_a_folder_is_listed_in_order_and_one_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"0000000{number}-1a2b3c4d.tar{'.partial' if number == 2 else ''}").write_bytes(b"x" * number)
    (tmp_path / "table.idx").touch()
    expected = [Shard("00000001-1a2b3c4d.tar", 1), Shard("00000003-1a2b3c4d.tar", 3)]
    assert shards_in(tmp_path) == (expected, ["00000002-1a2b3c4d.tar.partial"])
    assert shards_in(tmp_path / "gone") == shards_in(tmp_path / "table.idx") == ([], [])
