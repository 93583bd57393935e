"""The ledger of a run on Ray: what was begun before, who was killed, and whether to go on."""

from srcache.fill.ray_ledger import RayLedger


def test_a_block_that_is_begun_again_was_begun_before():
    ledger = RayLedger()
    assert ledger.seconds() == 0.0
    assert [ledger.begin(3), ledger.begin(4), ledger.begin(3)] == [False, False, True]
    assert ledger.seconds() > 0.0


def test_a_run_that_is_stopped_begins_nothing():
    ledger = RayLedger()
    assert ledger.stop() is False
    assert (ledger.begin(0), ledger.is_stopping()) == (None, True)
    ledger = RayLedger()
    ledger.begin(0)
    assert ledger.tell("one", 0, 5) is False
    assert ledger.stop() is True
    assert ledger.tell("one", 0, 6) is True
    assert ledger.in_hand() == [(0, 6)]


def test_an_actor_that_enters_twice_was_killed():
    ledger = RayLedger()
    ledger.enter("one", "aaaaaaaa")
    ledger.enter("two", "bbbbbbbb")
    ledger.enter("one", "cccccccc")
    assert ledger.writers() == (["bbbbbbbb", "cccccccc"], ["aaaaaaaa"])
