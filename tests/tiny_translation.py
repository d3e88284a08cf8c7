"""Colours in two languages, word by word, and options of a student that learns them in a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE, TARGET = ("rot", "blau", "gelb", "weiß"), ("red", "blue", "yellow", "white")
TINY = (
    "width=16",
    "feedforward=32",
    "encoder_layers=1",
    "decoder_layers=1",
    "heads=2",
)
OPTIONS: Mapping[str, Any] = {
    "model_options": TINY,
    "vocab_size": 40,
    "vocab_model": "bpe",
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 20,
    "meta_batch_size": 16,
    "lr": 3e-2,
    "lr_schedule": "constant",
    "lr_warmup_steps": 0,
    "beam": 2,
}


def pairs(first: int, last: int) -> list[tuple[str, str]]:
    """Pairs ``first`` to ``last - 1`` of 4 ** 7, all different."""
    digits = [[number * 3797 % 4**7 // 4**place % 4 for place in range(7)] for number in range(first, last)]
    return [tuple(" ".join(words[d] for d in row) for words in (SOURCE, TARGET)) for row in digits]  # type: ignore[misc]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    """A TSV of pairs, source first."""
    path.write_text("".join(f"{source}\t{target}\n" for source, target in rows), encoding="utf-8")
    return path


def flags(**options: object) -> list[str]:
    """``OPTIONS`` with some changed, as the command line takes them."""
    words = []
    for name, value in ({**OPTIONS, **options}).items():
        words.append(f"--{name.replace('_', '-')}")
        words += [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
    return words
