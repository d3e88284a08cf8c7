"""Whole commands in children of a process that has loaded everything, to be killed or starved in thousands.

The process itself trains nothing: autograd does not survive a fork.  As a program it makes one campaign, or
several with the same undisturbed runs, and prints what went wrong:
``python tests/killed_runs.py killed,starved SEED TRIALS FOLDER``.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny_translation import flags, own, own_files

import metaweight.cli.compare
import metaweight.cli.train
import metaweight.report.plots  # noqa: F401 - so that the children need not
from metaweight.cli.main import main
from metaweight.tasks import tasks
from metaweight.tasks.config import ImageConfig
from metaweight.training.callbacks import BY_EPOCH

SIZES = {"train": 40, "meta": 20, "valid": 20}
IMAGES = [word for part, size in SIZES.items() for word in (f"--{part}-size", str(size))]
IMAGES += ["--batch-size", "10", "--meta-batch-size", "10"]
IMAGES += ["--warmup-epochs", "0", "--model-options", "width=4"]
WHOLE = ("weights.npz", "weights.csv", BY_EPOCH, "steps.jsonl", "hypothesis.txt", "pairs.csv")
SHORT = [*IMAGES, "--noise", "uniform", "--epochs", "3"]


def commands(folder: Path) -> dict[str, list[str]]:
    """Four kinds of runs and a comparison, without their folder."""
    text = own(own_files(folder), "train", "meta", "valid", "test")
    return {
        "image": ["train", *SHORT, "--teacher", "mlp"],
        "online": ["train", *SHORT, "--teacher", "mw-net", "--schedule", "online"],
        "stages": ["train", *SHORT, "--teacher", "uniform", "--remedy", "glc"],
        "translation": ["train", "--task", "translation", *flags(teacher="mlp", epochs=3), *text],
        "comparison": [
            *("compare", *IMAGES, "--epochs", "2", "--arms", "uniform", "mw-net", "--noises", "uniform@0.4"),
            *("--seeds", "0", "--jobs", "1"),
        ],
    }


def resumed(command: list[str], out: Path) -> list[str]:
    """What goes on with ``command`` in ``out``, or begins it where nothing is there."""
    if not out.exists():
        return [*command, "--out", str(out)]
    if command[0] == "compare":
        return [*command, "--resume", "--out", str(out)]
    return ["train", "--resume", str(out)]


@dataclass
class Child:
    """A command in a process of its own."""

    pid: int
    log: Path

    def wait(self) -> int:
        """Its exit code; minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


def start(arguments: list[str], log: Path, before: Callable[[], None] | None = None) -> Child:
    """Fork and run a command; ``before`` is called in the child first."""
    pid = os.fork()
    if pid:
        return Child(pid, log)
    code = 70
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if before is not None:
            before()
        code = main(arguments)
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


class Starved(io.FileIO):
    """A file on a disk that is full from the n-th operation of this process on."""

    left = 0

    @classmethod
    def take(cls) -> None:
        cls.left -= 1
        if cls.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, content: Any) -> int:
        self.take()
        return super().write(content)


def starve(after: int) -> None:
    """Let all that writes below Path.open, os.replace, os.fsync and mkdir fail after so many operations."""
    Starved.left = after
    opened, replace, fsync, mkdir = Path.open, os.replace, os.fsync, Path.mkdir

    def open_(self: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        if not set(mode) & set("wax"):
            return opened(self, mode, buffering, **options)
        Starved.take()
        raw = Starved(self, mode.replace("b", ""))
        file = raw if buffering == 0 else io.BufferedWriter(raw)
        return file if "b" in mode else io.TextIOWrapper(file, **options)  # type: ignore[type-var]

    def taking(call: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*arguments: Any, **options: Any) -> Any:
            Starved.take()
            return call(*arguments, **options)

        return taken

    Path.open = open_  # type: ignore[method-assign, assignment]
    os.replace, os.fsync = taking(replace), taking(fsync)
    Path.mkdir = taking(mkdir)  # type: ignore[method-assign]


def without_times(value: Any) -> Any:
    """JSON without what a clock says."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in ("seconds", "cost")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def contents(out: Path) -> dict[str, Any]:
    """All that the runs below ``out`` came to, bit for bit but for times."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name in WHOLE:
            found[name] = path.read_bytes()
        elif path.name == "result.json":
            found[name] = without_times(json.loads(path.read_bytes()))
        elif path.suffix == ".part" or path.name.startswith(".lock"):
            found[name] = "left behind"
    return found


@dataclass
class Campaign:
    """Trials of every kind of run against undisturbed ones."""

    folder: Path
    seed: int

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.commands = commands(self.folder)
        tasks["image"].prepare(ImageConfig())  # read once for all children
        self.whole: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}

    def begin(self, kind: str) -> None:
        """An undisturbed run to compare with."""
        started, out = time.monotonic(), self.folder / f"whole-{kind}"
        child = start([*self.commands[kind], "--out", str(out)], self.folder / "log.txt")
        assert child.wait() == 0, child.said
        self.seconds[kind] = time.monotonic() - started
        self.whole[kind] = contents(out)
        assert "left behind" not in self.whole[kind].values()

    def ended(self, kind: str, out: Path) -> str | None:
        """What is wrong with a disturbed run once it has gone on to its end."""
        child = start(resumed(self.commands[kind], out), self.folder / "log.txt")
        if child.wait() != 0:
            return f"it does not go on: {child.said[-400:]}"
        ours, theirs = contents(out), self.whole[kind]
        apart = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
        shutil.rmtree(out)
        return f"others than of an undisturbed run: {', '.join(apart)}" if apart else None

    def killed(self, kind: str, out: Path) -> str | None:
        """Killed once or twice at any instant."""
        for _ in range(self.random.choice((1, 1, 2))):
            child = start(resumed(self.commands[kind], out), self.folder / "log.txt")
            time.sleep(self.random.uniform(0, self.seconds[kind]))
            os.kill(child.pid, signal.SIGKILL)
            if child.wait() not in (0, -signal.SIGKILL):
                return f"it does not go on: {child.said[-400:]}"
        return self.ended(kind, out)

    def starved(self, kind: str, out: Path) -> str | None:
        """The disk is full from some write on."""
        after = int(1.4 ** self.random.uniform(0, 14))
        child = start(resumed(self.commands[kind], out), self.folder / "log.txt", lambda: starve(after))
        code, said = child.wait(), child.said
        if code not in (0, 2) or "Traceback" in said:
            return f"after {after} operations it ends with {code}: {said[-1500:]}"
        if code == 2 and ("No space left on device" not in said or str(out) not in said):
            return f"after {after} operations it does not say which file, or why: {said[-400:]}"
        return self.ended(kind, out)

    def twice(self, kind: str, out: Path) -> str | None:
        """Two processes at once, of a run that is there already half the time."""
        if self.random.random() < 0.5:
            child = start(resumed(self.commands[kind], out), self.folder / "log.txt")
            time.sleep(self.seconds[kind] * 0.5)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        arguments = resumed(self.commands[kind], out)
        both = [start(arguments, self.folder / f"log-{number}.txt") for number in range(2)]
        codes = sorted(child.wait() for child in both)
        said = "".join(child.said for child in both)
        refused = codes == [0, 2] and ("is in use" in said or "exists" in said)
        # one may have come when the other had ended
        if not refused and codes != [0, 0]:
            return f"two at once end with {codes}: {said[-800:]}"
        return self.ended(kind, out)

    def troubles(self, what: str, trials: int) -> Iterator[str]:
        """What went wrong in so many trials, the kinds in turn."""
        kinds = list(self.commands)
        for number in range(trials):
            kind = kinds[number % len(kinds)]
            if kind not in self.whole:
                self.begin(kind)
            trouble = getattr(self, what)(kind, self.folder / f"{what}-{number}")
            if trouble is not None:
                yield f"{kind}, {what}, trial {number} of seed {self.seed}: {trouble}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, seed, trials, folder = sys.argv[1:]
    campaign = Campaign(Path(folder), int(seed))
    troubles = [trouble for one in what.split(",") for trouble in campaign.troubles(one, int(trials))]
    print("\n".join(troubles))
    sys.exit(1 if troubles else 0)
