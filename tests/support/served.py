"""A server in a process of its own: `with served(cache, "compact") as server: httpx.post(server.url + "/v1/sr", …)`."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forked import COMMAND, ENGINES, Child, started

LIMIT = 90
"""Seconds after which something that waits is taken to be stuck."""

LOADED = (*ENGINES, "httptools", "srcache.server.run", "srcache_cli.serve", "uvicorn", "uvloop")
"""What is loaded once, for all servers."""


class Server:
    """A running `srcache serve`.

    Attributes:
        process: it.
        url: where it listens, such as http://127.0.0.1:40123.
    """

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        self.process: Child | subprocess.Popen[bytes]
        with self._out.open("w") as out, self._err.open("w") as err:
            if environment is None:
                self.process = started(COMMAND, ["serve", *words], stdout=out, stderr=err, loads=LOADED)
            else:
                command = [sys.executable, "-P", "-m", "srcache_cli.main", "serve", *words]
                quiet = subprocess.DEVNULL
                self.process = subprocess.Popen(command, stdout=out, stderr=err, stdin=quiet, env=environment)
        self.url = ""

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """Warnings, errors and the access log."""
        return self._err.read_text()

    def wait_until_ready(self) -> None:
        """Wait until it listens, and its engines are loaded."""
        deadline = time.monotonic() + LIMIT
        while not self._is_ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.stderr}"
            assert time.monotonic() < deadline, f"the server is not ready: {self.stdout}{self.stderr}"
            time.sleep(0.03)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(LIMIT)

    def stop(self) -> int:
        """Let it end in order; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)

    def _is_ready(self) -> bool:
        found = self._out.read_text() + self._err.read_text()
        if "listening on " not in found:
            return False
        self.url = found.partition("listening on ")[2].split()[0]
        return self.url.startswith("https:") or self._answers("/readyz")

    def _answers(self, path: str) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(self.url + path, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def words_for(cache: object, recipe: object, options: dict[str, object]) -> list[str]:
    """The command line: `batch=4` is --batch 4, `retry_failed=True` is --retry-failed, a list repeats an option."""
    words = ["--cache", str(cache), "--recipe", str(recipe)]
    for name, value in {"port": 0, "device": "cpu", **options}.items():
        option = f"--{name.rstrip('_').replace('_', '-')}"
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is True:
                words.append(option)
            elif one is not False and one is not None:
                words += [option, str(one)]
    return words


@contextmanager
def served(
    cache: object,
    recipe: object,
    *,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
    **options: object,
) -> Iterator[Server]:
    """`srcache serve` of a recipe (a name or a file) on a free port; killed at the end if it still runs then.

    Args:
        cache, recipe: as the command takes them.
        ready: wait until it listens and its engines are loaded.
        environment: of a process that starts from nothing, as a user's does; None for a forked one (see `forked`), with
            this process's environment.
        options: the command's, with `_` for `-`; see `words_for`.
    """
    with tempfile.TemporaryDirectory(prefix="srcache-served-") as folder:
        server = Server(words_for(cache, recipe, options), Path(folder), environment)
        try:
            if ready:
                server.wait_until_ready()
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()


def without(folder: Path, *packages: str) -> dict[str, str]:
    """The environment of a process that cannot import these packages."""
    for package in packages:
        (folder / f"{package}.py").write_text('raise ImportError("left out for a test")\n')
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
