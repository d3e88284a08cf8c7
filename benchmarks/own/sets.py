"""Sets as a user would bring them: training rows of which some are wrong, trusted rows, test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.belief.tables import read
from benchmarks.data.cifar10 import CLASSES, read_labels, read_sheet
from benchmarks.own.tokens import dates, each_token, read_tagged, spoilt_tokens
from metaweight.data.folder import find_file

Array = np.ndarray[Any, Any]
TABLES = ("spambase", "telco_churn", "satellite", "magic_gamma", "student_grades", "defects_derby")
MORE_TABLES = ("letter", "hpc_jobs", "optdigits", "mlc_churn", "income_survey", "defects_lucene")
TEXTS = ("trec_rules", "youtube_lf", "agnews_human_a", "mr_sentences")
MORE_TEXTS = ("hausa_topics", "medrel_treat", "sms_rules")
NUMBERS = ("ames_housing", "bikeshare_hourly", "concrete", "wage_midatlantic")
TAGGED = ("hausa_ner", "restaurant_slots")
TRUSTED: Mapping[str, int] = {"tabular": 100, "number": 100, "text": 200, "image": 200, "tokens": 200}
LABEL = "label"
WRONG = ("uniform", "first-class", "flip")
"""Wrong labels: of all rows alike, or of those of the first class alone, both another class at random; or of
all rows alike, the next class."""


@dataclass(frozen=True, eq=False)
class Whole:
    """All rows of a set with their right targets, and those that it came with where it brings wrong ones."""

    rows: Any
    """A frame [n], or images [n, C, H, W] in 0..1."""
    right: Array
    """[n]; of sentences tuples of a label a token."""
    given: Array | None = None
    test: Array | None = None
    """[n] bool; None: a quarter of them, drawn by the seed."""


@dataclass(frozen=True, eq=False)
class Case:
    """One set under one seed."""

    name: str
    kind: str
    """tabular, number, text, image or tokens."""
    rows: Any
    right: Array
    given: Array
    train: Array
    """Positions [n]."""
    meta: Array
    test: Array

    @property
    def wrong(self) -> Array:
        """[n] bool, of the training rows, or of their tokens, one sentence after the other."""
        given, right = self.given[self.train], self.right[self.train]
        return each_token(given) != each_token(right) if self.kind == "tokens" else given != right


def _table(name: str, folder: Path) -> Whole:
    data = read(name, folder)
    keep = slice(None) if data.given is None else data.given >= 0
    given = None if data.given is None else data.given[keep]
    return Whole(data.rows[keep].reset_index(drop=True), data.right[keep], given)


def _numbers(name: str, folder: Path) -> Whole:
    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        rows, right = load_diabetes(return_X_y=True, as_frame=True)
        return Whole(rows, right.to_numpy(np.float64))
    place = folder / "tabular" / name
    frame = pd.read_csv(find_file([f"{name}.csv.xz"], [place], dataset=name))
    return Whole(frame.iloc[:, :-1], frame.iloc[:, -1].to_numpy(np.float64))


def _text(name: str, folder: Path) -> Whole:
    place = folder / "text" / name
    path = find_file([f"{name}.tsv.xz"], [place], dataset=name)
    frame = pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False, dtype=str)
    test = None
    if "split" in frame:
        known = (frame["split"] != "valid") & (frame["label"] != "")
        frame = frame[known].reset_index(drop=True)
        test = (frame["split"] == "test").to_numpy()
    if "noisy" in frame:
        known = (frame["noisy"] != "").to_numpy() | (test if test is not None else False)
        frame, test = frame[known].reset_index(drop=True), None if test is None else test[known]
        given = frame["noisy"].where(frame["noisy"] != "", frame["label"]).to_numpy()
    else:
        given = None
    return Whole(frame[["text"]], frame["label"].to_numpy(), given, test)


def _tokens(name: str, folder: Path) -> Whole:
    return Whole(*read_tagged(name, folder))


def _dates(folder: Path) -> Whole:
    rows, right, test = dates()
    return Whole(rows, right, None, test)


def _digits(folder: Path) -> Whole:
    from sklearn.datasets import load_digits

    images, right = load_digits(return_X_y=True)
    return Whole((images / 16).astype(np.float32).reshape(-1, 1, 8, 8), right)


def _mnist(folder: Path) -> Whole:
    """The middle 20 x 20 of each image, where a digit lies, as 8 x 8 means: the size and range of digits."""
    from benchmarks.default.sources import mnist_5k

    read = mnist_5k(folder)
    images = torch.cat([read.train_images, read.test_images])[:, :, 4:24, 4:24].float() / 255
    right = torch.cat([read.train_labels, read.test_labels])
    return Whole(F.adaptive_avg_pool2d(images, 8).numpy(), right.numpy())


def _cifar(folder: Path, size: int = 3000) -> Whole:
    def find(name: str) -> Path:
        return find_file((name,), [folder], dataset="cifar10")

    labels = read_labels(find("cifar10_labels.npz"), {"train": 50_000, "test": 10_000})
    sheet = find("cifar10_jpeg_q90/train_0.jpg")
    images = read_sheet(sheet)[:size].numpy().astype(np.float32) / 255
    assert len(CLASSES) == 10
    return Whole(images, labels["train"][:size].numpy())


SETS: Mapping[str, tuple[str, Callable[[Path], Whole]]] = {
    **{name: ("tabular", partial(_table, name)) for name in (*TABLES, *MORE_TABLES)},
    **{name: ("text", partial(_text, name)) for name in (*TEXTS, *MORE_TEXTS)},
    "digits": ("image", _digits),
    "mnist-8x8": ("image", _mnist),
    "cifar10": ("image", _cifar),
    **{name: ("tokens", partial(_tokens, name)) for name in TAGGED},
    "cldr-dates": ("tokens", _dates),
    **{name: ("number", partial(_numbers, name)) for name in (*NUMBERS, "diabetes")},
}
"""Name -> kind, and how it is read; sets without wrong labels of their own get ``rate`` of them at random."""
TWELVE = (*TABLES, *TEXTS, "digits", "cifar10")


def case(name: str, whole: Whole, seed: int, *, rows: int, rate: float, wrong: str = "uniform") -> Case:
    """The set ``name`` under a seed: at most ``rows`` training rows, ``rate`` of their targets wrong.

    ``wrong``: which labels, of ``WRONG``.  Wrong numbers are shuffled among the rows that are hit.
    """
    random = np.random.default_rng([seed, len(name), *name.encode()[:4]])
    order = random.permutation(len(whole.right))
    if whole.test is None:
        cut = len(order) // 4
        test, rest = order[:cut], order[cut:]
    else:
        test, rest = order[whole.test[order]], order[~whole.test[order]]
    trusted = TRUSTED[SETS[name][0]]
    meta, train = rest[:trusted], rest[trusted : trusted + rows]
    given = whole.right.copy() if whole.given is None else whole.given.copy()
    if whole.given is None and SETS[name][0] == "tokens":
        given[train] = spoilt_tokens(whole.right[train], rate, random)
    elif whole.given is None:
        hit = train[random.random(len(train)) < rate]
        given[hit] = _spoilt(name, whole.right, hit, wrong, random)
    return Case(name, SETS[name][0], whole.rows, whole.right, given, train, meta, test[:1500])


def _spoilt(name: str, right: Array, hit: Array, wrong: str, random: np.random.Generator) -> Array:
    """What stands in place of the right targets of the rows ``hit``."""
    if SETS[name][0] == "number":
        return right[random.permutation(hit)]
    classes = np.unique(right)
    codes = np.searchsorted(classes, right[hit])
    step = random.integers(1, len(classes), len(hit))
    if wrong == "first-class":
        step[codes > 0] = 0
    if wrong == "flip":
        step[:] = 1
    return classes[(codes + step) % len(classes)]
