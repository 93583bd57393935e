"""Token files: found, read, and never shown."""

import pytest

from srcache.errors import ConfigError
from srcache.service.token_file import VARIABLE, find_token_file, read_token


def test_a_token_is_the_files_one_line(tmp_path):
    file = tmp_path / "token"
    file.write_text(" s3cret-Token_~ \r\n")
    assert read_token(file) == "s3cret-Token_~"


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "umlaut-ä", "x" * 4097, "nul\0"])
def test_what_is_no_token_is_refused_without_showing_it(tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(ConfigError, match="must hold one line") as error:
        read_token(file)
    assert not text.strip() or text.strip() not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone cannot be read: No such file"):
        read_token(tmp_path / "gone")


def test_the_files_path_comes_from_the_caller_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_token_file() is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "one"))
    assert find_token_file() == tmp_path / "one"
    assert find_token_file(tmp_path / "two") == tmp_path / "two"
    monkeypatch.setenv(VARIABLE, "")
    assert find_token_file() is None
    monkeypatch.chdir(tmp_path)
    assert find_token_file("three") == tmp_path / "three"
