"""The data of a translation run: loaded, spoilt, cut into pieces, and served in batches."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass

import torch

from metaweight.config import TranslationConfig
from metaweight.data import derive
from metaweight.data.files import VARIABLE
from metaweight.data.text import Bitext, TextSet, load_text
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.noise import NoisyBitext, corrupt_bitext
from metaweight.data.text.vocabulary import EOS, Vocabularies, train_vocabularies
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.own_text import check_options, load_own

MAX_PIECES = 1024
"""Of a trusted sentence; a search on it has up to twice as many steps."""
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
    _check_options(config)
    text = _from_set(config) if config.train is None else load_own(config)
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
    _require_held_out(text, vocabularies)
    return PreparedText(text, noisy, vocabularies)


# the runs of a grid share their text, and making or reading it takes seconds
_text = functools.lru_cache(maxsize=4)(load_text)


def _from_set(config: TranslationConfig) -> TextSet:
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


def _check_options(config: TranslationConfig) -> None:
    """What would otherwise fail without the option's name, or when the run has been trained."""
    check_options(config)
    if config.beam < 1:
        raise ValueError(f"beam is 1 or more, got {config.beam}")
    if not math.isfinite(config.length_penalty):
        raise ValueError(f"length_penalty is finite, got {config.length_penalty}")
    if config.vocab_size <= EOS:
        raise ValueError(f"vocab_size is more than the {EOS + 1} special pieces, got {config.vocab_size}")


def _require_held_out(text: TextSet, vocabularies: Vocabularies) -> None:
    """Raise ValueError for an empty meta or test set, or a sentence that would take hours to translate."""
    for part in ("meta", "valid", "test"):
        pairs: Bitext = getattr(text, part)
        if not len(pairs) and part != "valid":
            raise ValueError(f"{text.name}: the {part} set is empty; {part}_size is 1 or more")
        for side in ("source", "target"):
            encoded = getattr(vocabularies, side).encode(getattr(pairs, side))
            for number, pieces in enumerate(encoded, start=1):
                if len(pieces) > MAX_PIECES:
                    raise ValueError(
                        f"{text.name}: the {side} of {part} pair {number} has {len(pieces):,} pieces, more "
                        f"than {MAX_PIECES:,}; take the pair out, or raise vocab_size"
                    )


def loader(config: TranslationConfig, prepared: PreparedText, split: str) -> TextLoader:
    """Batches of one split: shuffled ones of train and meta, sorted ones of the others."""
    train = split == "train"
    pairs = prepared.noisy.bitext if train else getattr(prepared.text, split)
    size, tokens = {
        "train": (config.batch_size, config.max_tokens),
        "meta": (config.meta_batch_size, None),
    }.get(split, (None, EVALUATION_TOKENS))
    own = prepared.vocabularies
    return TextLoader(
        own.source.encode(pairs.source),
        own.target.encode(pairs.target),
        torch.arange(len(pairs)),
        batch_size=size if tokens is None else None,
        max_tokens=tokens,
        shuffle=split in ("train", "meta"),
        seed=seed_of(config.seed, split),
        drop_last=train and tokens is None,
        device=torch.device(config.device),
    )
