"""A running service against its own OpenAPI document: thousands of requests, made up from it, are answered as it says.

schemathesis reads the document and sends what fits it and what does not. That includes requests that the document
allows and the service cannot take: bytes that are no image, a recipe that is not served. Those may be refused; nothing
else may.
"""

import json
import os
import subprocess
import sys
import urllib.request

import paths
import pytest
from served import served

from srcache.server.openapi_parts import PPM

pytestmark = pytest.mark.slow

TOKEN = "o9Wq3lV0zZ7mYp4Kx1NcTt8bRr5sHd2f"
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "404", "406", "413", "415", "422"]
"""
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "missing_required_header"),
    *("unsupported_method", "allow_header_conformance", "ignored_auth"),
)
LEAKS = ("Traceback", 'File "', "site-packages", ".py", "/tmp", "/home", "/root", "lmdb")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What schemathesis said, its exit code, every exchange that it recorded, and the log of the service."""
    pytest.importorskip("schemathesis")
    folder = tmp_path_factory.mktemp("schema")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    (folder / "schemathesis.toml").write_text(CONFIG)
    with served(folder / "cache", "compact", token_file=folder / "token") as server:
        _post(server.url, PPM.encode())
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]
        command += [f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--seed", "1"]
        command += ["--checks", ",".join(CHECKS), "--max-examples", "60", "--continue-on-failure", "--no-color"]
        command += ["--report", "har", "--report-har-path", "run.har", "--output-sanitize", "false"]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(paths.TESTS / "support")}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        exchanges = json.loads((folder / "run.har").read_text())["log"]["entries"]
        _post(server.url, PPM.encode())
        assert server.stop() == 0
        yield done, exchanges, server.stderr


def _post(url, data):
    """The service makes an image, so it lives."""
    request = urllib.request.Request(f"{url}/v1/sr", data=data, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        assert answer.status == 200


def test_answers_are_what_the_document_says(run):
    done, exchanges, _ = run
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert len(exchanges) > 1000
    assert "Tested: 9" in done.stdout


def test_every_kind_of_answer_was_seen(run):
    seen = {exchange["response"]["status"] for exchange in run[1]}
    assert {200, 202, 400, 401, 404, 405, 415} <= seen


def test_nothing_but_a_503_that_says_when_to_ask_again_is_the_services_fault(run):
    for exchange in run[1]:
        answer = exchange["response"]
        names = {header["name"].lower() for header in answer["headers"]}
        assert answer["status"] < 500 or (answer["status"] == 503 and "retry-after" in names), exchange
        assert "x-request-id" in names


def test_no_answer_and_no_line_of_the_log_tells_what_it_should_not(run):
    _, exchanges, log = run
    for exchange in exchanges:
        content = exchange["response"]["content"]
        if content["mimeType"].startswith("application/json") and exchange["response"]["status"] >= 400:
            assert not any(word in content["text"] for word in LEAKS), content["text"]
    assert TOKEN not in log
    assert "Traceback" not in log
