"""The command line in a process of its own, with what it said, how it ended and what it left."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 60
"""Seconds after which a command hangs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int | None
    """None where it hung, negative where a signal ended it."""
    said: str


def run(words: Sequence[str], folder: Path, stop_at: int | None = None, *, stdin: str = "") -> Ended:
    """``metaweight WORDS`` in ``folder``, by a fork of this process, which has imported what takes time.

    ``stop_at``: the step at which a Ctrl-C arrives.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as typed:
        typed.write(stdin.encode())
        typed.seek(0)
        sys.stdout.flush()
        process = os.fork()
        if not process:
            _command(words, folder, stop_at, out.fileno(), typed.fileno())
        status = _wait(process)
        out.seek(0)
        return Ended(status, out.read().decode("utf-8", "backslashreplace"))


def _command(words: Sequence[str], folder: Path, stop_at: int | None, out: int, typed: int) -> None:
    """Never comes back."""
    status = 70
    try:
        for number, place in ((typed, 0), (out, 1), (out, 2)):
            os.dup2(number, place)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        os.chdir(folder)
        os.environ |= {"COLUMNS": "400", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
        import warnings

        from metaweight.cli.main import main
        from metaweight.training.trainer import Trainer

        if stop_at is not None:
            step = Trainer._step

            def stopping(trainer: Trainer, window: object) -> object:
                report = step(trainer, window)  # type: ignore[arg-type]
                if trainer.reweighter.steps == stop_at:
                    os.kill(os.getpid(), signal.SIGINT)
                return report

            Trainer._step = stopping  # type: ignore[assignment,method-assign]
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            status = main(list(words))
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = 71
        os._exit(status)


def _wait(process: int) -> int | None:
    end = time.monotonic() + LIMIT
    pause = 0.002
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def torn(folder: Path) -> list[str]:
    """What in a folder that a command wrote cannot be read, or should have gone."""
    faults = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        try:
            if path.suffix == ".part":
                faults.append(f"{name} was left behind")
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".jsonl":
                for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                    json.loads(line)
            elif path.suffix == ".csv":
                csv.field_size_limit(10**9)
                with path.open(newline="", encoding="utf-8") as file:
                    widths = {len(row) for row in csv.reader(file, strict=True)}
                if len(widths) > 1:
                    faults.append(f"{name} has rows of {sorted(widths)} fields")
        except (ValueError, csv.Error) as error:
            faults.append(f"{name} cannot be read: {error}")
    return faults
