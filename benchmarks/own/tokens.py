"""Sentences of labelled tokens: read with wrong labels of their own, or spoilt token by token."""

from __future__ import annotations

import lzma
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metaweight.data.folder import find_file
from metaweight.tasks.tokens.sets import labelled_tokens

Array = np.ndarray[Any, Any]
HEADER = "#split\ttoken\tlabel\tnoisy\n"


def read_tagged(name: str, folder: Path) -> tuple[pd.DataFrame, Array, Array, Array]:
    """Tokens, and right and given labels as tuples, of training and test sentences; which are test ones.

    Of test sentences the given labels are the right ones.
    """
    path = find_file([f"{name}.tsv.xz"], [folder / "tokens" / name], dataset=name)
    with lzma.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().removeprefix(HEADER).split("\n")
    blocks = [list(block) for filled, block in groupby(lines, bool) if filled]
    sentences = [tuple(zip(*(line.split("\t") for line in block), strict=True)) for block in blocks]
    frame = pd.DataFrame(sentences, columns=["split", "tokens", "label", "noisy"])
    frame = frame[frame["split"].str[0] != "valid"].reset_index(drop=True)
    test = (frame["split"].str[0] == "test").to_numpy()
    given = frame["noisy"].where(~test, frame["label"])
    return frame[["tokens"]], frame["label"].to_numpy(), given.to_numpy(), test


def dates() -> tuple[pd.DataFrame, Array, Array]:
    """The sentences of cldr-dates with their right labels; which are test ones."""
    parts = labelled_tokens["cldr-dates"]()
    assert parts.test is not None
    frame = pd.concat([parts.train.frame, parts.test.frame], ignore_index=True)
    return frame[["tokens"]], frame["labels"].to_numpy(), np.arange(len(frame)) >= len(parts.train)


def each_token(labels: Array) -> Array:
    """[tokens] of tuples [n], one sentence after the other."""
    return np.array([label for sentence in labels for label in sentence])


def spoilt_tokens(right: Array, rate: float, random: np.random.Generator) -> Array:
    """Tuples [n] of labels, a share ``rate`` of all of them turned to another label at random."""
    flat = each_token(right)
    classes, codes = np.unique(flat, return_inverse=True)
    step = random.integers(1, len(classes), len(flat)) * (random.random(len(flat)) < rate)
    wrong = iter(classes[(codes + step) % len(classes)].tolist())
    given = np.empty(len(right), dtype=object)
    given[:] = [tuple(next(wrong) for _ in sentence) for sentence in right]
    return given
