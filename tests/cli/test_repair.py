"""`srcache repair`: what it prints, and what cannot be repaired."""

import pytest
from command_lines import damage


@pytest.mark.medium
def test_what_repair_prints(home, srcache):
    damage(home)
    repaired = srcache("repair", "damaged")
    assert repaired.code == 0
    assert "lanczos-d9b6f661a66b48ba: nothing to do, 1 SR image intact" in repaired.out
    assert "the damaged file is in damaged/bicubic-acbb464ab9619f0b/data.lmdb.damaged-" in repaired.out
    assert srcache("verify", "damaged").code == 0
    (home / "damaged/lanczos-d9b6f661a66b48ba/recipe.yaml").write_text("{")
    left = srcache("repair", "damaged")
    assert left.code == 3
    assert left.err.startswith("cannot be repaired:\n  damaged: lanczos-d9b6f661a66b48ba/recipe.yaml: ")
    assert srcache("info", "damaged").code == 3


@pytest.mark.medium
def test_images_that_were_lost_are_counted_and_made_by_the_next_build(home, srcache):
    damage(home)
    printed = srcache("repair", "damaged", "--recipe", "bicubic")
    head = next(line for line in printed.out.splitlines() if line.startswith("bicubic-acbb464ab9619f0b: "))
    kept = int(head.split()[1])
    assert "lanczos" not in printed.out
    assert (
        f"  {4 - kept} SR image{'' if kept == 3 else 's'} asked for, but not there; `srcache build` makes"
        in printed.out
    )


def test_a_recipe_that_is_not_there_is_refused(home, refuse):
    refuse("repair cache --recipe nope", "holds no recipe 'nope'")
