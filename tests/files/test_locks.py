"""Locks after a fork: free, in good order, and none of a module's locks is forgotten."""

import ast
import os
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from paths import ROOT

from srcache.catalog.sources import open_source
from srcache.files.locks import ForkLock

LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"}


def in_child(act: Callable[[], object], seconds: float = 20) -> bool:
    """Whether a forked process does something in time."""
    process = os.fork()
    if not process:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return False


def use(lock: ForkLock) -> None:
    with lock:
        pass


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("patience", [0.0, 0.3])
def test_a_lock_that_another_thread_keeps_is_free_in_a_forked_process(patience: float) -> None:
    lock, held, end = ForkLock(patience), threading.Event(), threading.Event()

    def keep() -> None:
        with lock:
            held.set()
            end.wait()

    thread = threading.Thread(target=keep)
    thread.start()
    held.wait()
    assert in_child(lambda: use(lock))
    end.set()
    thread.join()
    use(lock)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_waits_until_what_is_guarded_is_in_order() -> None:
    lock, held, state = ForkLock(patience=20), threading.Event(), ["in order"]

    def change() -> None:
        with lock:
            state[0] = "half"
            held.set()
            time.sleep(0.2)
            state[0] = "in order"

    thread = threading.Thread(target=change)
    thread.start()
    held.wait()
    assert in_child(lambda: 1 / (state[0] == "in order"))
    thread.join()


def test_a_thread_may_fork_while_it_holds_the_lock() -> None:
    lock = ForkLock(patience=20)
    with lock:
        assert in_child(lambda: use(lock))
        use(lock)
    use(lock)
    assert not in_child(lambda: 1 / 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_worker_that_is_forked_while_a_thread_reads_an_item_reads_its_own() -> None:
    class Slow:
        reading = threading.Event()

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[object, int]:
            if index == 1:
                self.reading.set()
                time.sleep(0.3)
            return np.full((4, 4, 3), index, np.uint8), index

    source = open_source(Slow())
    thread = threading.Thread(target=source.load, args=(1,))
    thread.start()
    Slow.reading.wait()
    assert in_child(lambda: source.load(2))
    thread.join()


def test_every_lock_of_a_module_is_prepared_for_a_fork() -> None:
    wrong = []
    for path in (path for folder in ("srcache", "cli", "plugins") for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        hooks = {
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and "at_fork" in ast.unparse(node.func)
        }
        named = {word.value.id for hook in hooks for word in ast.walk(ast.parse(hook)) if isinstance(word, ast.keyword)
                 and isinstance(word.value, ast.Name)}  # fmt: skip
        bodies = "\n".join(
            ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in named
        )
        for node in tree.body:
            calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)] if _is_value(node) else []
            if any(ast.unparse(call.func).split(".")[-1] in LOCKS for call in calls):
                name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                wrong += [f"{path.relative_to(ROOT)}: {name}"] if name not in bodies else []
    assert wrong == [], "use srcache.files.locks.ForkLock, or register functions that take care of it"


def _is_value(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)
