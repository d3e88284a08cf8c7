"""A Python that has imported everything and forks: pages and commands of the documentation start in no time.

``python warm.py serve SOCKET`` waits for jobs, ``python warm.py ask SOCKET ARGUMENTS`` has a ``metaweight``
command done there, in its own folder, environment and streams.  Each job is a fresh process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select

ROOM = 1 << 20
LONGEST = 600.0
"""Seconds for a job."""
IMPORTED = ("torch", "numpy", "pandas", "sklearn.datasets", "sklearn.ensemble", "matplotlib", "PIL.Image")
OURS = ("cli.main", "integrations.fit", "integrations.sklearn", "tasks", "comparison.suite", "report.page")


def ask(place: str, job: Mapping[str, object], streams: Sequence[int] = (0, 1, 2)) -> int:
    """Have a job done in the current folder; its exit code, 1 where it died."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(LONGEST)
        line.connect(place)
        said = json.dumps({"folder": os.getcwd(), "environment": dict(os.environ), **job}).encode()
        socket.send_fds(line, [len(said).to_bytes(4, "big")], list(streams))
        line.sendall(said)
        answer = b""
        while part := line.recv(16):
            answer += part
    return answer[0] if answer else 1


def serve(place: str) -> None:
    """Fork for every job, until the process that started this one is gone."""
    from importlib import import_module

    for name in (*IMPORTED, *(f"metaweight.{name}" for name in OURS)):
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen(16)
        os.rename(f"{place}.new", place)
        while listening in select([listening, sys.stdin], [], [])[0]:
            line, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _do(line)
            line.close()


def _do(line: socket.socket) -> None:
    head, streams, _, _ = socket.recv_fds(line, 4, 3)
    size, said = int.from_bytes(head, "big"), b""
    while len(said) < size:
        part = line.recv(ROOM)
        if not part:
            sys.exit(1)  # who asked is gone
        said += part
    job = json.loads(said)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    code: object = 1
    try:
        if "page" in job:
            from run_page import run

            code = run(Path(job["page"])) or 0
        else:
            from metaweight.cli.main import main

            sys.argv = ["metaweight", *job["arguments"]]
            code = main()
    except SystemExit as stop:
        code = stop.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    finally:
        line.sendall(bytes([int(str(code))]))
        # the other end is closed with this process, behind what is done at its exit
    sys.exit(int(str(code)))


@contextmanager
def warm(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server in ``folder``: its socket, and a folder for the PATH with ``metaweight`` in it."""
    place, commands = str(folder / "warm"), folder / "bin"
    commands.mkdir()
    command = commands / "metaweight"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{__file__}" ask "{place}" "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parents[1]), str(Path(__file__).parent)))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", place],
            env=environment,
            stdin=subprocess.PIPE,  # whose end says that this process is gone
            stderr=log,
            start_new_session=True,
        )
        try:
            while not Path(place).exists():
                if server.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.05)
            yield place, commands
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.communicate()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[2], {"arguments": sys.argv[3:]}))
