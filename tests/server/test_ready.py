"""Answers that are kept: the last ones, up to so many bytes."""

from srcache.server.ready import Ready, ReadyAnswers


def answer(size):
    return Ready(bytes(size), '"t"', (), ())


def place(number):
    return ("f" * 16, f"{number:032x}", 0, "")


def test_what_was_not_asked_for_longest_makes_room():
    held = ReadyAnswers(100_000)
    for number in range(40):
        held.keep(place(number), answer(900))
        assert held.get(place(0)) is not None, "it is asked for again and again"
    assert 15 <= len(held) <= 20
    assert held.get(place(1)) is None
    assert held.get(place(39)) == answer(900)


def test_a_large_answer_is_not_kept_and_one_is_kept_once():
    held = ReadyAnswers(100_000)
    held.keep(place(0), answer(50_000))
    assert len(held) == 0
    for _ in range(100):
        held.keep(place(1), answer(1000))
    assert len(held) == 1
    assert ReadyAnswers(0).get(place(0)) is None
