"""Colours in two languages, word by word, and options of a student that learns them in a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metaweight.core.options import spelt_options
from metaweight.tasks.config import TranslationConfig

TRAIN = ["train", "--task", "translation"]
Files = dict[str, Path]
SOURCE, TARGET = ("rot", "blau", "gelb", "weiß"), ("red", "blue", "yellow", "white")
TINY = {"width": 16, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
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
        words += spelt_options(value) if isinstance(value, dict) else [str(value)]
    return words


def own_files(folder: Path) -> Files:
    """Own files of a run: 60 training pairs, 16 trusted ones, 8 to validate, 8 to test."""
    ends = {"train": (0, 60), "meta": (60, 76), "valid": (76, 84), "test": (84, 92)}
    return {name: write(folder / f"{name}.tsv", pairs(*span)) for name, span in ends.items()}


def own(files: Files, *names: str) -> list[str]:
    """``files`` as the command line takes them."""
    return [word for name in names or ("train", "meta", "valid") for word in (f"--{name}", str(files[name]))]


def words(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, on one line."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def config(data: str, **options: Any) -> TranslationConfig:
    """A run of half a second on 100 pairs of ``data``."""
    sizes = {"train_size": 100, "meta_size": 20, "valid_size": 16, "test_size": 30, "meta_from_train": True}
    return TranslationConfig(**{**OPTIONS, **sizes, "data": data, "noise": "mixed", **options})


def changed(base: TranslationConfig, **options: Any) -> TranslationConfig:
    """``config`` on the data of ``base``."""
    return config(base.data, **options)


def lines(path: Path) -> list[str]:
    """Of a file whose last line ends."""
    return path.read_bytes().decode().split("\n")[:-1]
