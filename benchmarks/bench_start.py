"""How long the program takes to start: `srcache --help`, `import srcache`."""

import subprocess
import sys
import time

from benchmarks.record import Bar, bar_of, interleaved


def run(repeats: int) -> list[Bar]:
    """Wall seconds of fresh processes, against a bare `import click` and a bare interpreter."""

    def wall(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        return time.perf_counter() - started

    helped, clicked, imported, bare = interleaved(
        max(repeats, 9),
        lambda: wall("-m", "srcache_cli.main", "--help"),
        lambda: wall("-c", "import click"),
        lambda: wall("-c", "import srcache"),
        lambda: wall("-c", "pass"),
    )
    extra = [1000 * (one - two) for one, two in zip(imported, bare, strict=True)]
    loads_torch = subprocess.run([sys.executable, "-c", "import srcache, sys; sys.exit('torch' in sys.modules)"])
    return [
        bar_of("srcache --help", helped, "s", 0.3, "import click", clicked),
        bar_of("import srcache, beyond a bare interpreter", extra, "ms", 60),
        bar_of("import srcache loads torch", [float(loads_torch.returncode)], "times", 0),
    ]
