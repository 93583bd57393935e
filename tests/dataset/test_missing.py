"""What goes to those who make missing images, and what comes back."""

from pathlib import Path

from training_sets import NOISY, empty

from srcache.cache.manifest import open_cache
from srcache.dataset.counters import COUNTED
from srcache.dataset.misses import MissFiller
from srcache.dataset.missing import Filler, Made
from srcache.dataset.remote_misses import RemoteFiller
from srcache.service.remote import RemoteService


def test_everything_that_makes_images_is_counted_under_a_name_of_its_own(photos: Path) -> None:
    folder = open_cache(empty(photos, NOISY)).find()
    fillers: list[Filler] = [MissFiller(folder), RemoteFiller(folder, RemoteService("http://127.0.0.1:9"))]
    assert [filler.counted for filler in fillers] == ["computed", "fetched"]
    assert {filler.counted for filler in fillers} <= set(COUNTED)
    assert all(filler.make([]) == Made(added=0, failed=[]) for filler in fillers)
