"""Who is let in: by token, by the Host header, and by the page that a browser asks for."""

import pytest

from srcache.errors import ConfigError
from srcache.server.access import Doors, open_doors
from srcache.server.answers import Refusal

TOKEN = "correct-horse-battery"


def said(**headers):
    return {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}


def refused(doors, path="/v1/sr", scheme="http", **headers):
    try:
        doors.check(path, scheme, said(**{"host": "127.0.0.1:8484", **headers}))
    except Refusal as refusal:
        return refusal.status_code, refusal.reason
    return None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8484",
        "localhost:1",
        "LOCALHOST",
        "[::1]:8484",
        "192.168.7.9:80",
        "gpu7.lab.example:8484",
    ],
)
def test_addresses_and_known_names_are_this_machine(host):
    assert refused(Doors(None, ["gpu7.lab.example"]), host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8484", "127.0.0.1.evil.example", "", "127.0.0.1:x", "a b", "local\x00host", "@x"],
)
def test_other_names_are_refused_so_that_no_page_can_make_its_own_name_lead_here(host):
    doors = Doors(None)
    assert refused(doors, host=host) == refused(doors, host=host) == (403, "unknown_host")


def test_without_a_host_nobody_is_let_in():
    with pytest.raises(Refusal):
        Doors(None).check("/", "http", {})


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "https://127.0.0.1:8484", "http://127.0.0.1:80", ""])
def test_pages_of_other_origins_are_refused(origin):
    assert refused(Doors(None), origin=origin) == (403, "cross_origin")
    assert refused(Doors(TOKEN), path="/", origin=origin) == (403, "cross_origin"), "with a token too, and the page"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_what_a_browser_says_of_other_sites_is_believed(site):
    assert refused(Doors(None), sec_fetch_site=site) == (403, "cross_origin")


def test_the_own_page_and_programs_are_let_in():
    doors = Doors(None)
    assert refused(doors, origin="http://127.0.0.1:8484", sec_fetch_site="same-origin") is None
    assert refused(doors, sec_fetch_site="none") is None
    assert refused(doors, origin="https://127.0.0.1:8484", scheme="https") is None


def test_a_token_is_asked_for_everywhere_but_at_three_paths_and_the_files_of_the_page():
    doors = Doors(TOKEN)
    for path in ("/v1/sr", "/v1/recipes", "/metrics", "/openapi.json", "/v1/stats", "/pages", "/healthz/", "//"):
        assert refused(doors, path) == (401, "unauthorized")
        assert refused(doors, path, authorization=f"Bearer {TOKEN}") is None
        assert refused(doors, path, authorization=f"bearer  {TOKEN}") is None
    for path in ("/", "/healthz", "/readyz", "/page/page.js"):
        assert refused(doors, path) is None


@pytest.mark.parametrize("given", ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer \xe9"])
def test_another_token_is_none(given):
    assert refused(Doors(TOKEN), authorization=given) == (401, "unauthorized")


def test_the_token_is_taken_out_of_lines():
    assert Doors(TOKEN).hide(f"GET /{TOKEN}?x={TOKEN}") == "GET /[token]?x=[token]"
    assert Doors(None).hide("GET /") == "GET /"


def test_a_token_file_is_read_and_looked_at(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    doors, warnings = open_doors(file, ())
    assert refused(doors, authorization=f"Bearer {TOKEN}") is None
    assert warnings == []
    file.write_text("short")
    file.chmod(0o640)
    assert [warning.split(";")[0].split(" token")[0] for warning in open_doors(file, ())[1]] == [
        "others can read or change the",
        "the",
    ]
    file.write_text("\n")
    with pytest.raises(ConfigError, match="must hold one line"):
        open_doors(file, ())
    assert open_doors(None, ())[1] == []
