"""`srcache prune`: nothing is removed without --yes."""

import pytest

from srcache.cache.manifest import open_cache


def test_what_prune_prints(home, srcache):
    before = sorted(path for path in home.rglob("*"))
    printed = srcache("prune", "cache", "lanczos")
    assert printed.out.startswith("would remove cache/lanczos-d9b6f661a66b48ba\n")
    assert printed.out.endswith(" would be freed; add --yes to remove\n")
    assert sorted(path for path in home.rglob("*")) == before
    assert srcache("prune", "cache", "lanczos", "--yes").out.startswith("removed cache/lanczos-d9b6f661a66b48ba\n")
    assert [folder.recipe.name for folder in open_cache("cache").folders()] == ["bicubic"]
    assert srcache("prune", "cache", "--catalogs", "--yes").out == "nothing to remove\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache", "expected a RECIPE to remove, or --catalogs"),
        ("cache nope --yes", "holds no recipe 'nope'"),
        ("photos x --yes", "photos is no srcache cache"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"prune {line}", message)
