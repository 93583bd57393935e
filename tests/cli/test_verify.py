"""`srcache verify`: what it prints of an intact and of a damaged cache."""

import pytest
from command_lines import damage


@pytest.mark.medium
@pytest.mark.usefixtures("spawned_checks")
def test_what_verify_prints(home, srcache):
    intact = srcache("verify", "cache")
    assert intact.out.startswith("cache: 4 SR images in 2 recipes checked")
    assert intact.out.endswith("1 more asked for, but failed or not made yet\nno damage found\n")
    damage(home)
    bad = srcache("verify", "damaged")
    assert bad.code == 3
    assert bad.err.startswith("1 problem; `srcache repair damaged` keeps what is intact\n  damaged: bicubic-acbb")


@pytest.mark.medium
def test_one_recipe_is_checked_by_itself(home, srcache):
    damage(home)
    printed = srcache("verify", "damaged", "--recipe", "lanczos")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("damaged: 1 SR image in 1 recipe checked")


def test_a_recipe_that_is_not_there_is_refused(home, refuse):
    refuse("verify cache --recipe nope", "holds no recipe 'nope'; it holds: bicubic-acbb464ab9619f0b, lanczos-")
