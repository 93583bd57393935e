"""Progress on stderr: for terminals only."""

import sys

from srcache_cli.progress_bar import progress_bar, say


def test_progress_and_words_about_it_are_for_terminals_only(capfd, monkeypatch):
    with progress_bar("build") as show:
        show(1, 2)
    say("downloading")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("downloading")
    with progress_bar("build", "file") as show:
        show(1, 2)
        show(2, 2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("downloading\n")
    assert "build: 100%" in err
    assert "2/2" in err
    assert "files/s" in err
