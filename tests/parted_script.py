"""What launchers start, a process each: a loop, or a trainer.  ``parted_script.py KIND FOLDER``"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import parted_integrations as loops
import parted_trainers as trainers
import torch
import torch.distributed as dist

LOOP = loops.Looped(loops.Distributed(47, 2, 12))
TUNED = trainers.Tuned("bert", 24)


def main(kind: str, folder: Path) -> None:
    """Trains in two processes, and writes what each of them has learnt."""
    warnings.simplefilter("ignore")
    rank = int(os.environ.get("LOCAL_RANK", "0"))  # Lightning starts the others from the first one
    if kind == "loop":
        dist.init_process_group("gloo")
        found, _ = loops.loop_in_a_process(rank, 2, LOOP, folder)
    else:
        if kind == "hugging-face":
            trained = trainers.tune(rank, 2, TUNED, folder)
        else:
            trained = trainers.lighten(rank, 2, folder)
        net = trained.module if kind == "lightning" else trained.model
        found = loops.seen(trained.weighing, net)
    torch.save(found, folder / f"found-{rank}.pt")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
