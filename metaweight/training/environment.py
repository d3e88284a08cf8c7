"""Where and with what a run was made: what a number needs to be had again."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metaweight.core.processes import Processes
from metaweight.core.version import __version__

RECORDED = ("higher", "numpy", "sacrebleu", "sentencepiece", "Babel")
"""Distributions whose version may move a number."""


def manifest(config: Mapping[str, Any], command: Sequence[str]) -> dict[str, Any]:
    """What decides a run (``config``, its ``seed`` if it has one, the command line) and its environment."""
    seed = {"seed": config["seed"]} if "seed" in config else {}
    # where the project lies on a machine is nobody's business, and the name is enough to run it again
    words = [Path(command[0]).name, *command[1:]] if command else []
    return {"config": dict(config), **seed, "command": words, **environment()}


def environment() -> dict[str, Any]:
    """Start time, commit, versions, devices, threads, processes and platform, as plain values.

    ``commit`` is that of metaweight's source and ``modified`` whether its tracked files differ from it;
    both are None where the package was not imported from a git checkout.
    """

    commit, modified = state_of_source()
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit,
        "modified": modified,
        "versions": {
            "metaweight": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version(name) for name in RECORDED},
        },
        "cpu": processor(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": Processes.at_hand().size,
        "platform": platform.platform(),
    }


@functools.cache
def state_of_source() -> tuple[str | None, bool | None]:
    """Commit and state of the source when it was first asked for; code that is loaded changes no more."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None  # an installed copy, perhaps inside a checkout of something else
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    """What git prints about this file's folder; None where it fails or is not installed."""
    command = ["git", *arguments]
    try:
        process = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return None
    return process.stdout.strip() if process.returncode == 0 else None


def processor() -> str:
    """The processor's model name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
