"""How a translation run reads sentence pairs that come after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from metaweight.core.contracts import Batch
from metaweight.data.text import filter_bitext
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.vocabulary import PADDING, Vocabularies
from metaweight.models.transformer import Transformer
from metaweight.models.translators import build_translator, default_translator_taps, time_axes
from metaweight.student.losses import TokenCrossEntropy
from metaweight.student.student import Student
from metaweight.tasks.assembly import execution
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.rating.new import New
from metaweight.tasks.translation.own_text import LONGEST, paths_of, read_own

TOKENS = 8192
"""Padded tokens of a batch that is not trained on."""


@dataclass(frozen=True)
class PairsReader:
    """What a run knows of its sentences."""

    config: TranslationConfig
    vocabularies: Vocabularies

    def student(self) -> Student:
        """A student like that of the run, untrained."""
        return build_student(self.config, self.vocabularies)

    def read(self, place: str) -> New:
        """See ``Reader.read``; two files are ``A,B``.

        Pairs with an empty side, and those that the filter of training pairs takes for none, have no weight.
        """
        pairs, said = read_own(paths_of(place), self.config)
        filtered = filter_bitext(pairs, max_characters=LONGEST)
        if not len(filtered.bitext):
            raise ValueError(f"{place}: no pair is left to weigh: {filtered}")
        own, sides = self.vocabularies, filtered.bitext
        source, target = own.source.encode(sides.source), own.target.encode(sides.target)
        longest = max(len(pieces) + 1 for side in (source, target) for pieces in side)

        def batches(size: int | None) -> Iterable[Batch]:
            return TextLoader(
                source,
                target,
                torch.arange(len(sides)),
                batch_size=size,
                max_tokens=max(TOKENS, longest) if size is None else None,
                shuffle=False,
                device=torch.device(self.config.device),
            ).epoch(0)

        return New(
            pairs.places,
            {"source": pairs.source, "target": pairs.target},
            filtered.kept,
            filtered.left_out,
            batches,
            notes=tuple(filter(None, (said,))),
            vocabulary=own.target,
        )


def build_student(config: TranslationConfig, vocabularies: Vocabularies) -> Student:
    """The student of a run, with its loss and taps, initialised from torch's generator."""
    return Student(
        build_module(config, vocabularies),
        # TokenCrossEntropy says which units there are
        TokenCrossEntropy(PADDING, config.smoothing, config.unit),  # type: ignore[arg-type]
        taps=config.taps or default_translator_taps(config.model, **config.model_options),
        time_axes=time_axes,
        execution=execution(config),
    )


def build_module(config: TranslationConfig, vocabularies: Vocabularies) -> Transformer:
    """The student's module, on the config's device."""
    options = dict(config.model_options)
    if not vocabularies.joint:
        options = {"tie": "decoder", **options}
        if options["tie"] == "all":  # two vocabularies of one size would pass unseen
            raise ValueError("tie=all needs joint_vocab: id 7 is another piece in each language")
    return build_translator(
        config.model,
        source_size=len(vocabularies.source),
        target_size=len(vocabularies.target),
        **options,
    ).to(config.device)
