"""SR images that a service gives: stored as `build` would, fallen back on, or refused with a reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_service import FakeService, fake_service
from training_sets import NOISY, built, empty, stored

from srcache.dataset.augmented import SRAugmentedDataset


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY) as fake:
        yield fake


def test_what_a_service_gives_is_what_build_would_have_stored(photos: Path, service: FakeService) -> None:
    cache = empty(photos, NOISY)
    data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
    items = data.__getitems__(range(12))
    assert [name for name, count in data.counts.items() if count] == ["sr", "fetched"]
    made = stored(cache, NOISY)
    assert made == stored(built(photos, NOISY, into="elsewhere"), NOISY)
    assert len(items) == data.counts["fetched"] == 12
