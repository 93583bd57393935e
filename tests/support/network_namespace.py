"""A network of its own for a command that listens where it wants: Ray listens on every address of a machine."""

import os
import shutil
import subprocess
from functools import cache

_UP = 'ip link set lo up && exec "$@"'


@cache
def _words():
    """The words before a command that give it a network with nothing in it but the loopback; None where none can be."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    for options in (["--net"], ["--map-root-user", "--net"]):
        words = ["unshare", *options, "sh", "-c", _UP, "sh"]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return None


def obstacle():
    """Why no command can have a network of its own here; None if it can."""
    return None if _words() else "no network namespace can be made here (unshare --net, ip link set lo up)"


def alone(*words):
    """A command line that runs in a network of its own."""
    return [*_words(), *map(str, words)]


def run_alone(*words, timeout=300, **how):
    """Run a command so; returns its exit code, and what it printed."""
    return subprocess.run(
        alone(*words), capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ}, **how
    )
