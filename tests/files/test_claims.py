"""Folders that a command fills: held by one process, known again after a kill, and clean at the end."""

import os

import pytest

from srcache.errors import BusyError
from srcache.files.claims import held, is_mark, was_stopped, working

RUN = {"recipe": "bicubic-0123", "names": True}


def test_a_run_that_ends_well_leaves_nothing(tmp_path):
    with working(tmp_path / "out", "export", RUN, "exported into"):
        assert all(map(is_mark, (tmp_path / "out").iterdir()))
        assert was_stopped(tmp_path / "out", "export", RUN), "for whoever would find it so"
    assert os.listdir(tmp_path / "out") == []
    assert not was_stopped(tmp_path / "out", "export", RUN)


def test_a_run_that_was_stopped_is_known_to_the_same_command_alone(tmp_path):
    def stopped():
        with working(tmp_path, "export", RUN, "exported into"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert was_stopped(tmp_path, "export", dict(reversed(RUN.items())))
    assert not was_stopped(tmp_path, "export", {**RUN, "names": False})
    assert not was_stopped(tmp_path, "upscale", RUN)
    with working(tmp_path, "export", RUN, "exported into"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_second_process_is_kept_out_and_told_of_the_folder(tmp_path):
    with (
        held(tmp_path / "out", "prepare", "prepared"),
        pytest.raises(BusyError, match=rf"^{tmp_path}/out is being prepared by process {os.getpid()}; wait for it"),
        held(tmp_path / "out", "prepare", "prepared"),
    ):
        pass
    assert os.listdir(tmp_path / "out") == []


def test_an_error_leaves_nothing_of_what_was_only_held(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path, "prepare", "prepared"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
