"""The data of a translation run: loaded, spoilt, cut into pieces, and served in batches."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from metaweight.config import TranslationConfig
from metaweight.data import derive
from metaweight.data.files import VARIABLE
from metaweight.data.text import Bitext, TextSet, filter_bitext, load_text, read_bitext, shared_sentences
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.noise import NoisyBitext, corrupt_bitext
from metaweight.data.text.vocabulary import Vocabularies, train_vocabularies
from metaweight.registry import did_you_mean
from metaweight.tasks.assembly import seed_of

OVERLAPS = ("error", "drop")
EVALUATION_TOKENS = 8192
"""Padded tokens of an evaluation batch."""


@dataclass(frozen=True, eq=False)
class PreparedText:
    """The data of a run; indices are positions in the training pairs."""

    text: TextSet
    noisy: NoisyBitext
    """Of the training pairs, as the student gets them."""
    vocabularies: Vocabularies

    @property
    def title(self) -> str:
        """Name of the text set, over the table."""
        return f"{self.text.name}, {len(self.text.train):,} training pairs"

    @property
    def source(self) -> str:
        """Where the text came from, and what was dropped."""
        return "; ".join(filter(None, (self.text.source, self.text.notes)))

    @property
    def samples(self) -> int:
        """Training pairs."""
        return len(self.text.train)


def prepare(config: TranslationConfig) -> PreparedText:
    """Load, split, spoil, and train the vocabularies: on the training text alone, bad pairs included."""
    text = _from_files(config) if config.train is not None else _from_set(config)
    noisy = corrupt_bitext(
        text.train,
        config.noise,
        rate=config.noise_rate,
        generator=derive(config.seed, "noise"),
        foreign=text.foreign,
        foreign_aligned=text.foreign_aligned,
        out_of_domain=text.out_of_domain,
    )
    vocabularies = train_vocabularies(
        noisy.bitext,
        config.vocab_size,
        joint=config.joint_vocab,
        model=config.vocab_model,
        byte_fallback=config.byte_fallback,
    )
    return PreparedText(text, noisy, vocabularies)


# the runs of a grid share their text, and making or reading it takes seconds
_text = functools.lru_cache(maxsize=4)(load_text)


def _from_set(config: TranslationConfig) -> TextSet:
    for option in ("meta", "valid", "test", "columns"):
        if getattr(config, option) is not None:
            raise ValueError(f"{option} names a file beside those of train: give train too, or leave it")
    return _text(
        config.data,
        data_dir=config.data_dir or os.environ.get(VARIABLE),
        train_size=config.train_size,
        meta_size=config.meta_size,
        valid_size=config.valid_size,
        test_size=config.test_size,
        languages=config.languages,
        seed=config.seed,
    )


def _from_files(config: TranslationConfig) -> TextSet:
    """Own files: every one is used whole, except training pairs that the filter or ``overlap`` drops."""
    if config.overlap not in OVERLAPS:
        raise ValueError(f"unknown overlap {config.overlap!r}.{did_you_mean(config.overlap, OVERLAPS)}")
    for option, default in (("data", "cldr"), ("train_size", None)):
        if getattr(config, option) != default:
            raise ValueError(f"train names a file, so {option} has no meaning: give one of them")
    if config.meta is None or (config.valid is None and config.test is None):
        raise ValueError("beside train give meta, the trusted pairs, and valid or test to measure on")
    parts = {
        name: _read(getattr(config, name), config)
        for name in ("train", "meta", "valid", "test")
        if getattr(config, name) is not None
    }
    filtered = filter_bitext(parts["train"])
    train, notes = filtered.bitext, f"training file: {filtered}"
    if config.overlap == "drop":
        train, dropped = _apart(train, [pairs for name, pairs in parts.items() if name != "train"])
        notes += f"; {dropped} more share a sentence with a trusted file"
    valid = parts.get("valid", parts.get("test"))
    assert valid is not None
    return TextSet(
        Path(config.train or "").name,
        config.languages or config.columns or ("source", "target"),
        train=train,
        meta=parts["meta"],
        valid=valid,
        test=parts.get("test", valid),
        source="own files",
        notes=notes,
    )


def _read(path: str, config: TranslationConfig) -> Bitext:
    return read_bitext(Path(path).expanduser(), columns=config.columns)


def _apart(pairs: Bitext, others: list[Bitext]) -> tuple[Bitext, int]:
    shared = {pair for other in others for pair in shared_sentences(pairs, other).tolist()}
    return pairs.select([pair for pair in range(len(pairs)) if pair not in shared]), len(shared)


def loader(config: TranslationConfig, prepared: PreparedText, split: str) -> TextLoader:
    """Batches of one split: shuffled ones of train and meta, sorted ones of the others."""
    pairs = prepared.noisy.bitext if split == "train" else getattr(prepared.text, split)
    own = prepared.vocabularies
    training = split in ("train", "meta")
    tokens = config.max_tokens if training else EVALUATION_TOKENS
    if split == "meta":
        tokens = None
    size = config.meta_batch_size if split == "meta" else config.batch_size
    return TextLoader(
        own.source.encode(pairs.source),
        own.target.encode(pairs.target),
        torch.arange(len(pairs)),
        batch_size=min(size, len(pairs)) if tokens is None else None,
        max_tokens=tokens,
        shuffle=training,
        seed=seed_of(config.seed, split),
        drop_last=split == "train" and tokens is None,
        device=torch.device(config.device),
    )
