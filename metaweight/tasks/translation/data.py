"""The data of a translation run: loaded, spoilt, cut into pieces, and served in batches."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import torch

from metaweight.core.digest import digest
from metaweight.data import derive
from metaweight.data.folder import VARIABLE
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.text import Bitext, TextSet, load_text
from metaweight.data.text.hub_text import HubText
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.noise import NoisyBitext, corrupt_bitext
from metaweight.data.text.sets import PREFIXES
from metaweight.data.text.vocabulary import EOS, Vocabularies, train_vocabularies
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.pool import Pool
from metaweight.tasks.probes import Probes
from metaweight.tasks.translation.own_text import check_options, load_own
from metaweight.tasks.translation.probes import planted
from metaweight.tasks.trusted import drawn_unchecked, require_trusted

MAX_PIECES = 1024
"""Of a trusted sentence; a search on it has up to twice as many steps."""
EVALUATION_TOKENS = 8192
"""Padded tokens of an evaluation batch."""
WAY = "give them as files, --train FILE --meta FILE --valid FILE, or as a split of hf:NAME?meta=SPLIT"
"""To trusted pairs."""


Pieces = list[list[int]]
"""Ids of a list of sentences."""


@dataclass(frozen=True, eq=False)
class PreparedText:
    """The data of a run; indices are positions in the training pairs, the last of which are probes."""

    text: TextSet
    noisy: NoisyBitext
    """Of the training pairs, as the student gets them."""
    vocabularies: Vocabularies
    probes: Probes | None = None
    """None: none were planted."""
    _encoded: dict[str, tuple[Pieces, Pieces]] = field(default_factory=dict, repr=False)

    def pairs(self, split: str) -> Bitext:
        """The pairs of "train" (as the student gets them), "meta", "valid" or "test"."""
        pairs: Bitext = self.noisy.bitext if split == "train" else getattr(self.text, split)
        return pairs

    def encoded(self, split: str) -> tuple[Pieces, Pieces]:
        """Sources and targets of a split in pieces; cut once, however many loaders are made of them."""
        if split not in self._encoded:
            pairs, own = self.pairs(split), self.vocabularies
            self._encoded[split] = own.source.encode(pairs.source), own.target.encode(pairs.target)
        return self._encoded[split]

    def token_counts(self) -> list[int]:
        """How often each target piece is a target of the training set; eos ends every sentence."""
        _, targets = self.encoded("train")
        pieces = torch.tensor(list(chain.from_iterable(targets)))
        counts: list[int] = torch.bincount(pieces, minlength=len(self.vocabularies.target)).tolist()
        counts[EOS] += len(targets)
        return counts

    @property
    def title(self) -> str:
        """Name of the text set, over the table."""
        return f"{self.text.name}, {self.own:,} training pairs"

    @property
    def source(self) -> str:
        """Where the text came from, and what was dropped."""
        return "; ".join(filter(None, (self.text.source, self.text.notes)))

    @property
    def samples(self) -> int:
        """Training pairs, probes among them, and behind them the trusted ones."""
        return len(self.text.train) + len(self.text.meta)

    @property
    def own(self) -> int:
        """Training pairs that are no probes: the first ones."""
        return len(self.text.train) - (0 if self.probes is None else len(self.probes.wrong))

    @property
    def origins(self) -> Origins:
        """Where each training pair came from; of a set that does not say, the set's name and row."""
        known = self.text.train.origins
        return Origins.of(self.text.name, range(1, len(self.text.train) + 1)) if known is None else known

    @property
    def left_out(self) -> LeftOut:
        """The pairs that this run does not use, each with its reason."""
        return self.text.left_out

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Part of what decides the run, in words -> its digest: sentences in order, as they are used."""
        parts = {"training": "train", "trusted": "meta", "validation": "valid", "test": "test"}
        rows = {f"{part} rows": self.pairs(split) for part, split in parts.items()}
        own = self.vocabularies
        return {
            **{part: digest(pairs.source, pairs.target) for part, pairs in rows.items()},
            "vocabulary": digest([own.source.model.hex(), own.target.model.hex()]),
        }


def prepare(config: TranslationConfig) -> PreparedText:
    """Load, split, spoil, and train the vocabularies: on the training text alone, bad pairs included."""
    _check_options(config)
    text = _from_set(config) if config.train is None else load_own(config)
    if not text.clean and config.noise != "none":
        unknown = "pairs that were bad before are not known, so bad ones are those that the noise put in"
        text = replace(text, notes="; ".join(filter(None, (text.notes, unknown))))
    noisy = corrupt_bitext(
        text.train,
        config.noise,
        rate=config.noise_rate,
        generator=derive(config.seed, "noise"),
        foreign=text.foreign,
        foreign_aligned=text.foreign_aligned,
        out_of_domain=text.out_of_domain,
    )
    text, noisy, probes = planted(config, text, noisy) if config.probes else (text, noisy, None)
    vocabularies = train_vocabularies(
        noisy.bitext,
        config.vocab_size,
        joint=config.joint_vocab,
        model=config.vocab_model,
        byte_fallback=config.byte_fallback,
        character_coverage=config.character_coverage,
    )
    prepared = PreparedText(text, noisy, vocabularies, probes)
    _require_held_out(prepared)
    return prepared


# the runs of a grid share their text, and making or reading it takes seconds
_text = functools.lru_cache(maxsize=4)(load_text)


def check_trusted(config: TranslationConfig) -> None:
    """Raise ValueError where the name of the data alone says that no trusted pairs are to be had."""
    kind = config.data.partition(":")[0]
    if config.train is None and kind in PREFIXES and not (kind == "hf" and HubText.parse(config.data).meta):
        require_trusted(config, way=WAY)


def _from_set(config: TranslationConfig) -> TextSet:
    text = _text(
        config.data,
        data_dir=config.data_dir or os.environ.get(VARIABLE),
        train_size=config.train_size,
        meta_size=config.meta_size,
        valid_size=config.valid_size,
        test_size=config.test_size,
        languages=config.languages,
        seed=config.seed,
    )
    if text.clean or not text.meta_from_train:
        return text
    require_trusted(config, way=WAY)
    return replace(text, notes=f"{text.notes}; {drawn_unchecked(config, len(text.meta), len(text.valid))}")


def _check_options(config: TranslationConfig) -> None:
    """What would otherwise fail without the option's name, or when the run has been trained."""
    check_options(config)
    if config.beam < 1:
        raise ValueError(f"beam is 1 or more, got {config.beam}")
    if not math.isfinite(config.length_penalty):
        raise ValueError(f"length_penalty is finite, got {config.length_penalty}")


def _require_held_out(prepared: PreparedText) -> None:
    """Raise ValueError for an empty meta or test set, or a sentence that would take hours to translate."""
    name = prepared.text.name
    for part in ("meta", "valid", "test"):
        if not len(prepared.pairs(part)) and part != "valid":
            raise ValueError(f"{name}: the {part} set is empty; {part}_size is 1 or more")
        for side, encoded in zip(("source", "target"), prepared.encoded(part), strict=True):
            for position, pieces in enumerate(encoded):
                if len(pieces) > MAX_PIECES:
                    raise ValueError(
                        f"{prepared.pairs(part).places[position]}: the {side} of this {part} pair has "
                        f"{len(pieces):,} pieces, more than {MAX_PIECES:,}; take the pair out, or raise "
                        "vocab_size"
                    )


def knows_bad_pairs(config: TranslationConfig, prepared: PreparedText) -> bool:
    """Whether it is known which training pairs are bad: some were made so, or the set counts as good."""
    return config.noise != "none" or prepared.text.clean


def pool(config: TranslationConfig, prepared: PreparedText) -> Pool:
    """Training pairs, and behind them the trusted ones."""
    pairs, trusted, noisy = len(prepared.text.train), len(prepared.text.meta), prepared.noisy
    truth = knows_bad_pairs(config, prepared)
    both = [prepared.pairs(split) for split in ("train", "meta")]
    characters = [[len(s) for b in both for s in getattr(b, side)] for side in ("source", "target")]
    pieces = [[len(s) for s in side] for side in _pooled(prepared)]
    return Pool(
        train=torch.arange(pairs),
        meta=torch.arange(pairs, pairs + trusted),
        flipped=noisy.flipped if truth else None,
        nominal=noisy.nominal if truth else None,
        lengths={"pieces": torch.tensor(pieces).t(), "characters": torch.tensor(characters).t()},
    )


def _pooled(prepared: PreparedText) -> tuple[Pieces, Pieces]:
    """Sources and targets of the pool in pieces."""
    train, meta = prepared.encoded("train"), prepared.encoded("meta")
    return train[0] + meta[0], train[1] + meta[1]


def pool_loader(
    config: TranslationConfig, prepared: PreparedText, positions: torch.Tensor, *, training: bool
) -> TextLoader:
    """Batches of the pool's ``positions`` [n]: like the training set's, or sorted ones of all of them."""
    size = min(config.batch_size, len(positions)) if config.max_tokens is None else None
    return TextLoader(
        *_pooled(prepared),
        positions,
        batch_size=size if training else None,
        max_tokens=config.max_tokens if training else _roomy(prepared),
        shuffle=training,
        seed=seed_of(config.seed, "train"),
        drop_last=training and size is not None,
        device=torch.device(config.device),
    )


def joined_loader(config: TranslationConfig, prepared: PreparedText) -> TextLoader:
    """Training batches of training pairs and trusted ones; of these not what no ``max_tokens`` holds, which
    teaches only."""
    positions, most = torch.arange(prepared.samples), config.max_tokens
    if most is not None:
        longest = torch.tensor([max(map(len, pair)) + 1 for pair in zip(*_pooled(prepared), strict=True)])
        positions = positions[(positions < len(prepared.text.train)) | (longest <= most)]
    return pool_loader(config, prepared, positions, training=True)


def _roomy(prepared: PreparedText) -> int:
    """``EVALUATION_TOKENS``, or the longest sentence's."""
    return max(EVALUATION_TOKENS, *(len(pieces) + 1 for side in _pooled(prepared) for pieces in side))


def loader(config: TranslationConfig, prepared: PreparedText, split: str) -> TextLoader:
    """Batches of one split: shuffled ones of train and meta, sorted ones of the others."""
    size, tokens = {
        "train": (config.batch_size, config.max_tokens),
        "meta": (config.meta_batch_size, None),
    }.get(split, (None, EVALUATION_TOKENS))
    positions = torch.arange(len(prepared.pairs(split)))
    if split == "meta":
        positions += len(prepared.text.train)  # as in the pool
    try:
        return TextLoader(
            *(_pooled(prepared) if split == "meta" else prepared.encoded(split)),
            positions,
            batch_size=size if tokens is None else None,
            max_tokens=tokens,
            shuffle=split in ("train", "meta"),
            seed=seed_of(config.seed, split),
            drop_last=split == "train" and tokens is None,
            device=torch.device(config.device),
        )
    except ValueError as error:
        raise ValueError(f"{prepared.text.name}, {split} pairs: {error}") from error
