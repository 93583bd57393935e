"""A process that forks programs on demand, so that one costs milliseconds: what it needs is loaded already.

`python forker.py PLACE` listens there, an address of a Unix socket, and serves all processes of a run of the tests;
`forked` is what asks it. It ends with the last of them. An order is one JSON object, and so is the answer:
{"start": "module:function", …} calls a function in a child that writes to the two open files that come along, and says
the child's id; {"status": pid} says its exit status, or null if it still runs.
"""

import json
import os
import resource
import select
import socket
import sys
from importlib import import_module
from typing import Any

from forks import fork

PATIENCE = 60
"""Seconds until somebody asks for something; else whoever started this process is gone."""

LARGEST = 1 << 18
"""Bytes of an order."""


class Forker:
    """Takes orders, one at a time."""

    def __init__(self, place: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(place)
        self._listener.listen()
        self._clients: list[socket.socket] = []

    def run(self) -> None:
        """Until the last of those that ask is gone."""
        while True:
            ready = select.select([self._listener, *self._clients], [], [], None if self._clients else PATIENCE)[0]
            for one in ready:
                if one is self._listener:
                    self._clients.append(one.accept()[0])
                else:
                    self._take(one)
            if not self._clients:
                return

    def _take(self, client: socket.socket) -> None:
        data, files, *_ = socket.recv_fds(client, LARGEST, 2)
        if not data:
            client.close()
            self._clients.remove(client)
            return
        order = json.loads(data)
        answer = self._start(order, *files) if "start" in order else _status(order["status"])
        for file in files:
            os.close(file)
        client.send(json.dumps(answer).encode())

    def _start(self, order: dict[str, Any], stdout: int, stderr: int) -> int:
        for name in order["loads"]:
            import_module(name)

        def act() -> int:
            for one in (self._listener, *self._clients):
                one.close()
            return _run(order)

        return fork(act, stdout, stderr)


def _status(pid: int) -> int | None:
    """The exit status as `subprocess` would give it: negative for a signal."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def _run(order: dict[str, Any]) -> int:
    """In the child: what was ordered, as if it had been started where it was ordered."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    if limit := order["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for name in order["closed"]:
        os.close({"stdout": 1, "stderr": 2}[name])
        setattr(sys, name, None)
    sys.argv = ["srcache", *order["words"]]
    home, _, name = order["start"].partition(":")
    return int(getattr(import_module(home), name)(*order["words"] if order["given"] else ()) or 0)


if __name__ == "__main__":
    forker = Forker(sys.argv[1].replace("@", "\0", 1))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    forker.run()
