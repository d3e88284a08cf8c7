"""TextRequest: what a text set was asked for, and how pairs are cut into the parts that it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from torch import Tensor

from metaweight.data.folder import data_folder, find_file
from metaweight.data.origins import LeftOut
from metaweight.data.seeding import derive
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.components import split_by_component, without_shared
from metaweight.data.text.filtering import filter_bitext
from metaweight.data.text.left_out import left_out
from metaweight.data.text.text_set import TextSet

HELD_OUT = 1_000
"""Pairs to validate and to test where a set has no such splits and no number is asked for."""


@dataclass(frozen=True)
class TextRequest:
    """What ``load_text`` was asked for; None leaves a choice to the set."""

    name: str
    data_dir: str | Path | None
    """Folder of the data files; None: what METAWEIGHT_DATA names."""
    languages: tuple[str, str] | None
    train_size: int | None
    meta_size: int
    valid_size: int | None
    test_size: int | None
    seed: int

    def find(self, *names: str) -> Path:
        """The first of these files that the data folder has.  Raises ValueError that says where it looked."""
        folder = data_folder(self.data_dir)
        hint = "; other pairs come as tsv:PATH or hf:NAME, and cldr needs no file"
        return find_file(names, [] if folder is None else [folder], dataset=self.name, hint=hint)

    def sizes(self, *, train: int | None) -> dict[str, int | None]:
        """Sizes of all parts, to be drawn in this order; a None is all that is left."""
        test, valid = (HELD_OUT if size is None else size for size in (self.test_size, self.valid_size))
        return {"test": test, "valid": valid, "meta": self.meta_size, "train": train}

    def drawn(
        self, title: str, pairs: Bitext, *, languages: tuple[str, str], source: str, notes: str = ""
    ) -> TextSet:
        """A set without splits: all parts are drawn at random, whole components each.

        ``notes``: how the pairs were read.
        """
        filtered = filter_bitext(pairs)
        generator = derive(self.seed, "text", "split")
        parts = split_by_component(filtered.bitext, self.sizes(train=self.train_size), generator=generator)
        return TextSet(
            f"{title} {'-'.join(languages)}",
            languages,
            train=filtered.bitext.select(parts["train"]),
            meta=filtered.bitext.select(parts["meta"]),
            valid=filtered.bitext.select(parts["valid"]),
            test=filtered.bitext.select(parts["test"]),
            source=source,
            meta_from_train=True,
            notes="; ".join(filter(None, (f"all text: {filtered}", notes))),
            left_out=filtered.left_out.join(self.not_drawn(filtered.bitext, parts)),
        )

    def with_splits(
        self, title: str, splits: Mapping[str, Bitext], *, languages: tuple[str, str], source: str
    ) -> TextSet:
        """A set with the splits train, valid and test; one without meta has it drawn out of the first."""
        filtered = filter_bitext(splits["train"])
        named = splits.get("meta")
        held = [splits["valid"], splits["test"], *([] if named is None else [named])]
        others = "validation or test" if named is None else "meta, validation or test"
        apart, shared = without_shared(
            filtered.bitext, *held, reason=f"it shares a sentence with a {others} pair"
        )
        sizes = {"meta": 0 if named is not None else self.meta_size, "train": self.train_size}
        parts = split_by_component(apart, sizes, generator=derive(self.seed, "text", "split"))
        valid, more_valid = _first(splits["valid"], self.valid_size, "valid")
        test, more_test = _first(splits["test"], self.test_size, "test")
        rest, trusted = [shared, self.not_drawn(apart, parts), more_valid, more_test], ""
        meta = apart.select(parts["meta"])
        if named is not None:
            meta, more_meta = _first(named, min(self.meta_size, len(named)), "meta")
            rest.append(more_meta)
            trusted = f"; {len(meta):,} of {len(named):,} trusted pairs are the meta set"
        return TextSet(
            f"{title} {'-'.join(languages)}",
            languages,
            train=apart.select(parts["train"]),
            meta=meta,
            valid=valid,
            test=test,
            source=source,
            meta_from_train=named is None,
            notes=f"training split: {filtered}; {len(shared)} more share a sentence with {others}{trusted}",
            left_out=reduce(LeftOut.join, rest, filtered.left_out),
        )

    def not_drawn(self, pairs: Bitext, parts: Mapping[str, Tensor]) -> LeftOut:
        """The ``pairs`` that are in no part, for there is a limit to the training set."""
        drawn = {pair for part in parts.values() for pair in part.tolist()}
        rest = [pair for pair in range(len(pairs)) if pair not in drawn]
        return left_out(pairs, rest, f"it was not drawn: train_size is {self.train_size}")


def _first(pairs: Bitext, size: int | None, split: str) -> tuple[Bitext, LeftOut]:
    """The first pairs of a split, and the others."""
    if size is not None and size > len(pairs):
        raise ValueError(f"{split}_size is at most {len(pairs)}, all pairs of the split, got {size}")
    kept = len(pairs) if size is None else size
    rest = left_out(pairs, range(kept, len(pairs)), f"it was not taken: {split}_size is {size}")
    return pairs.select(range(kept)), rest
