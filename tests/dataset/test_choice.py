"""Which variant each image gets: what the policy says, at every epoch, and refused early where nothing is left."""

import pytest
from training_sets import NOISY, PLAIN, built, files_of

from srcache.cache.manifest import open_cache
from srcache.dataset.choice import Chooser
from srcache.dataset.lookup import SRImages
from srcache.dataset.policy import Policy, Variant
from srcache.errors import PolicyError
from srcache.keys import file_key


@pytest.fixture
def images(photos):
    return SRImages(open_cache(built(photos, NOISY, samples=3)).find())


@pytest.mark.parametrize("text", ["sr", "sr#2", "lr", "lr=0.3,sr=0.7", "0: lr; 2: sr", "0: sr#1; 3: lr=0.5,sr=0.5"])
def test_it_picks_what_the_policy_picks(images, photos, text):
    chooser, policy = Chooser(Policy.parse(text, seed=4), images), Policy.parse(text, seed=4)
    for file in files_of(photos):
        key = file_key(file)
        for epoch in range(5):
            assert chooser.pick(key, epoch) == policy.pick(key, epoch, 3)


def test_what_never_changes_is_picked_once(photos, monkeypatch):
    single = SRImages(open_cache(built(photos, PLAIN)).find())
    chooser = Chooser(Policy.parse("sr"), single)
    monkeypatch.setattr(Policy, "pick", lambda *_: 1 / 0)
    assert chooser.pick(file_key(files_of(photos)[0]), 7) == Variant("sr", 0)
    assert not chooser.varies


def test_any_sample_varies_where_there_are_several(images):
    assert Chooser(Policy.parse("sr"), images).varies
    assert not Chooser(Policy.parse("sr#1"), images).varies


def test_a_sample_that_was_never_made_is_refused(images):
    with pytest.raises(PolicyError, match=r"names sample 3, but noisy-.* was built with 3 per image.*--samples 4"):
        Chooser(Policy.parse("lr=0.5,sr#3=0.5"), images)
