"""A translation run on the user's own files: read, checked line by line, kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from pathlib import Path

from metaweight.core.registry import did_you_mean
from metaweight.data.text import Bitext, TextSet, filter_bitext, read_bitext, read_lines, shared_sentences
from metaweight.data.text.components import without_shared
from metaweight.tasks.config import TranslationConfig

OVERLAPS = ("error", "drop")
LONGEST = 1500
"""Characters of a sentence: a longer one is dropped from the training pairs and refused among the trusted."""
PARTS = ("train", "meta", "valid", "test")


def check_options(config: TranslationConfig) -> None:
    """Raise ValueError for options of own files without ``train``, or of a text set beside it."""
    if config.overlap not in OVERLAPS:
        raise ValueError(f"unknown overlap {config.overlap!r}.{did_you_mean(config.overlap, OVERLAPS)}")
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
    of valid and test is named, the run has no validation set, or is tested on it.  Raises ValueError that
    names file and line for what cannot be read and for a trusted sentence that is empty or longer than
    ``LONGEST``, and the files where two share a sentence.
    """
    paths = {part: path for part in PARTS if (path := getattr(config, part)) is not None}
    parts = {part: _read(path, config.columns) for part, path in paths.items()}
    for part, path in paths.items():
        if part != "train":
            _require_whole(parts[part], path, header=config.columns is not None)
    filtered = filter_bitext(parts["train"], max_characters=LONGEST)
    parts["train"], notes = filtered.bitext, f"{paths['train']}: {filtered}"
    if config.overlap == "drop":
        trusted = [parts[part] for part in paths if part != "train"]
        parts["train"], dropped = without_shared(parts["train"], *trusted)
        notes += f"; {dropped} more share a sentence with a trusted file"
    if not len(parts["train"]):
        raise ValueError(f"no pair is left to train on: {notes}")
    _require_apart(parts, paths)
    return TextSet(
        Path(paths["train"]).name,
        config.languages or config.columns or ("source", "target"),
        train=parts["train"],
        meta=parts["meta"],
        valid=parts.get("valid", Bitext((), ())),
        test=parts["test"] if "test" in parts else parts["valid"],
        source="own files",
        notes=notes,
    )


def _read(path: str, columns: tuple[str, str] | None) -> Bitext:
    source, comma, target = path.partition(",")
    if comma and not Path(path).expanduser().exists():
        return read_lines(Path(source).expanduser(), Path(target).expanduser())
    return read_bitext(Path(path).expanduser(), columns=columns)


def _require_whole(pairs: Bitext, path: str, *, header: bool) -> None:
    """Raise ValueError, with file and line, for a sentence that is empty or too long to be translated."""
    # a field of CSV may hold line ends, so there it is the row that counts
    unit = "row" if ".csv" in Path(path).suffixes else "line"
    tabular = {".csv", ".tsv"} & set(Path(path).suffixes)
    first = 2 if header and tabular and "," not in path else 1
    for number, pair in enumerate(zip(pairs.source, pairs.target, strict=True), start=first):
        for side, sentence in zip(("source", "target"), pair, strict=True):
            if not sentence.strip():
                raise ValueError(
                    f"{path}, {unit} {number}: the {side} is empty; trusted pairs have both sides, so "
                    "complete the pair or take it out"
                )
            if len(sentence) > LONGEST:
                raise ValueError(
                    f"{path}, {unit} {number}: the {side} has {len(sentence):,} characters, more than "
                    f"{LONGEST:,}; split it into sentences or take it out"
                )


def _require_apart(read: Mapping[str, Bitext], paths: Mapping[str, str]) -> None:
    """Raise ValueError where train shares a sentence with a trusted part, or meta with valid or test."""
    for part, held in product(("train", "meta"), ("meta", "valid", "test")):
        if part == held or held not in read:
            continue
        shared = shared_sentences(read[part], read[held]).tolist()
        if not shared:
            continue
        sources, repeats = set(read[held].source), []
        for pair in shared[:3]:
            source, target = read[part].source[pair], read[part].target[pair]
            repeats.append(repr((source if source in sources else target)[:60]))
        more = ", ..." if len(shared) > len(repeats) else ""
        way = "remove them, or --overlap drop takes them out of train" if part == "train" else "remove them"
        raise ValueError(
            f"{len(shared)} of the {part} pairs ({paths[part]}) share a sentence with the {held} pairs "
            f"({paths[held]}): {', '.join(repeats)}{more}; {way}"
        )
