"""A translation run on the user's own files: read, checked line by line, kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from pathlib import Path

from metaweight.core.plain_text import is_empty
from metaweight.data.tables import is_table
from metaweight.data.text import Bitext, TextSet, filter_bitext, read_lines, shared_sentences
from metaweight.data.text.components import shared_examples, without_shared
from metaweight.data.text.files import ReadPairs, read_pairs
from metaweight.tasks.config import TranslationConfig, check_overlap

LONGEST = 1500
"""Characters of a sentence: a longer one is dropped from the training pairs and refused among the trusted."""
PARTS = ("train", "meta", "valid", "test")


def check_options(config: TranslationConfig) -> None:
    """Raise ValueError for options of own files without ``train``, or of a text set beside it."""
    check_overlap(config.overlap)
    own, others = (
        ("meta", "valid", "test", "columns", "overlap"),
        ("data", "meta_from_train", *(f"{p}_size" for p in PARTS)),
    )
    defaults = {field.name: field.default for field in fields(config)}
    for option in own if config.train is None else others:
        if getattr(config, option) != defaults[option]:
            reason = "goes with train, a file of your own pairs: give train too"
            if config.train is not None:
                reason = "has no meaning beside train, a file that is used whole: give one of them"
            raise ValueError(f"{option} {reason}, or leave {option} out")
    if config.train is not None and (config.meta is None or (config.valid is None and config.test is None)):
        raise ValueError("beside train give meta, the trusted pairs, and valid or test to measure on")


def load_own(config: TranslationConfig) -> TextSet:
    """The text set of the files that ``config`` names.

    Every file is used whole, except for training pairs that the filter or ``overlap`` drops; where only one
    of valid and test is named, the run has no validation set, or is tested on it.  What "the same sentence"
    and "empty" mean: see ``plain_text``.  Raises ValueError that names file and line for what cannot be read
    and for a trusted sentence that is empty or longer than ``LONGEST``, and the files where two share a
    sentence.
    """
    paths = {part: paths_of(given) for part in PARTS if (given := getattr(config, part)) is not None}
    read = {part: read_own(path, config) for part, path in paths.items()}
    parts = {part: pairs for part, (pairs, _) in read.items()}
    for part, pairs in parts.items():
        if part != "train":
            _require_whole(pairs)
    filtered = filter_bitext(parts["train"], max_characters=LONGEST)
    parts["train"], left_out = filtered.bitext, filtered.left_out
    notes = f"{_spelt(paths['train'])}: {filtered}"
    if config.overlap == "drop":
        trusted = [parts[part] for part in paths if part != "train"]
        parts["train"], shared = without_shared(parts["train"], *trusted)
        left_out = left_out.join(shared)
        notes += f"; {len(shared)} more share a sentence with a trusted file"
    if not len(parts["train"]):
        raise ValueError(f"no pair is left to train on: {notes}")
    _require_apart(parts, paths)
    return TextSet(
        Path(paths["train"][0]).name,
        config.languages or config.columns or ("source", "target"),
        train=parts["train"],
        meta=parts["meta"],
        valid=parts.get("valid", Bitext((), ())),
        test=parts["test"] if "test" in parts else parts["valid"],
        source="own files",
        notes="; ".join(dict.fromkeys(filter(None, (notes, *(said for _, said in read.values()))))),
        left_out=left_out,
    )


def paths_of(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """The one or two files that an option names; ``SOURCE,TARGET`` is two where there is no such one."""
    if not isinstance(given, str):
        return tuple(given)
    source, comma, target = given.partition(",")
    return (source, target) if comma and not Path(given).expanduser().exists() else (given,)


def read_own(paths: tuple[str, ...], config: TranslationConfig) -> ReadPairs:
    """The pairs of one table, or of two plain files.  Raises ValueError for what is neither."""
    if len(paths) == 2:
        if all(map(is_table, paths)):
            raise ValueError(
                f"{_spelt(paths)} are tables, which hold both sides; two files are plain ones, one of each "
                "side, a sentence a line: name one table"
            )
        return ReadPairs(read_lines(*paths), "")
    return read_pairs(paths[0], columns=config.columns, languages=config.languages)


def _spelt(paths: tuple[str, ...]) -> str:
    return " and ".join(paths)


def _require_whole(pairs: Bitext) -> None:
    """Raise ValueError, with file and line, for a sentence that is empty or too long to be translated."""
    for number, pair in enumerate(zip(pairs.source, pairs.target, strict=True)):
        for side, sentence in zip(("source", "target"), pair, strict=True):
            if is_empty(sentence):
                raise ValueError(
                    f"{pairs.places[number]}: the {side} is empty; trusted pairs have both sides, so "
                    "complete the pair or take it out"
                )
            if len(sentence) > LONGEST:
                raise ValueError(
                    f"{pairs.places[number]}: the {side} has {len(sentence):,} characters, more than "
                    f"{LONGEST:,}; split it into sentences or take it out"
                )


def _require_apart(read: Mapping[str, Bitext], paths: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ValueError where train shares a sentence with a trusted part, or meta with valid or test."""
    for part, held in product(("train", "meta"), ("meta", "valid", "test")):
        if part == held or held not in read:
            continue
        shared = shared_sentences(read[part], read[held])
        if not len(shared):
            continue
        way = "remove them, or --overlap drop takes them out of train" if part == "train" else "remove them"
        raise ValueError(
            f"{len(shared)} of the {part} pairs ({_spelt(paths[part])}) share a sentence with the {held} "
            f"pairs ({_spelt(paths[held])}): {shared_examples(read[part], read[held], shared)}; {way}"
        )
