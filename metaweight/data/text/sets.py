"""The text sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metaweight.core.registry import Registry, did_you_mean
from metaweight.data.folder import ELSEWHERE
from metaweight.data.hub import parse_options
from metaweight.data.seeding import derive
from metaweight.data.text.cldr import cldr_text
from metaweight.data.text.components import split_by_component
from metaweight.data.text.files import read_pairs
from metaweight.data.text.hub_text import load_hub_text
from metaweight.data.text.request import TextRequest
from metaweight.data.text.text_set import TextSet

TRAIN_SIZE = 10_000
"""Training pairs of ``cldr``, which has no end, where no number is asked for."""

texts: Registry[Callable[[TextRequest], TextSet]] = Registry("text set", group="metaweight.texts")
"""Name -> loader."""


def load_text(
    name: str,
    *,
    data_dir: str | Path | None = None,
    train_size: int | None = None,
    meta_size: int = 500,
    valid_size: int | None = None,
    test_size: int | None = None,
    languages: tuple[str, str] | None = None,
    seed: int = 0,
) -> TextSet:
    """The text set ``name``: one of ``texts``, ``tsv:PATH[?source=COLUMN&target=COLUMN]``, or ``hf:NAME``.

    ``tsv:`` reads any table (see ``read_bitext``), ``hf:`` a set of the hub (see ``load_hub_text``).  A set
    with a validation and a test split of its own keeps them whole or, where a size is given, their first
    pairs, and draws the meta set out of its training split, unless ``?meta=SPLIT`` of ``hf:`` names one, of
    which ``meta_size`` pairs are taken at most; another is split at random from ``seed``.  A size
    left None is all there is to train on (10,000 pairs of ``cldr``), 1,000 to validate, 1,000 to test.
    Training pairs that are empty, too long, lopsided or share a sentence with another part are dropped and
    counted in ``TextSet.notes``; they and those that no size has room for are listed in
    ``TextSet.left_out``.  ``languages``: source and target, by default those of the set, for ``cldr`` English
    to German, for ``tsv:`` the columns called so where a header has them, else just a label.  ``data_dir``:
    folder of the data files, by default what METAWEIGHT_DATA names.  Raises KeyError for an unknown name,
    ValueError for sizes or languages that a set does not have and for missing or broken files.
    """
    sizes = {"train": train_size, "meta": meta_size, "valid": valid_size, "test": test_size}
    for part, size in sizes.items():
        least = int(part == "train")
        if size is not None and size < least:
            raise ValueError(f"{part}_size is at least {least}, got {size}")
    if languages is not None and (len(languages) != 2 or languages[0] == languages[1]):
        raise ValueError(f"languages are two, source and target, and differ; got {languages!r}")
    prefix, colon, _ = name.partition(":")
    if not (colon and prefix in PREFIXES) and name not in texts:
        asked = f"{prefix}:PATH" if colon else name  # a path would drown the nearest prefix
        known = (*texts.names(), "tsv:PATH", "hf:NAME")
        raise KeyError(f"unknown text set {name!r}.{did_you_mean(asked, known)} Name one, {ELSEWHERE}.")
    loader = PREFIXES[prefix] if colon else texts[name]
    return loader(TextRequest(name, data_dir, languages, train_size, meta_size, valid_size, test_size, seed))


@texts.register("cldr")
def _cldr(asked: TextRequest) -> TextSet:
    languages = asked.languages or ("en", "de")
    sizes = asked.sizes(train=TRAIN_SIZE if asked.train_size is None else asked.train_size)
    spoken = {language.replace("-", "_").partition("_")[0] for language in languages}
    corpus = cldr_text(
        sum(size for size in sizes.values() if size is not None),
        languages=languages,
        foreign=next(language for language in ("fr", "es", "it") if language not in spoken),
        generator=derive(asked.seed, "text", "cldr"),
    )
    parts = split_by_component(corpus.bitext, sizes, generator=derive(asked.seed, "text", "split"))
    foreign = corpus.foreign
    return TextSet(
        f"CLDR {'-'.join(languages)}",
        languages,
        train=corpus.bitext.select(parts["train"]),
        meta=corpus.bitext.select(parts["meta"]),
        valid=corpus.bitext.select(parts["valid"]),
        test=corpus.bitext.select(parts["test"]),
        clean=True,
        foreign=None if foreign is None else tuple(foreign[pair] for pair in parts["train"].tolist()),
        foreign_aligned=foreign is not None,
        source="Unicode CLDR through Babel, sentences made by rule; Unicode License, BSD",
    )


def _table(asked: TextRequest) -> TextSet:
    path, _, query = asked.name.removeprefix("tsv:").partition("?")
    example = "write tsv:PATH[?source=COLUMN&target=COLUMN]"
    options = parse_options(asked.name, query, ("source", "target"), example=example)
    if len(options) == 1 or not path:
        raise ValueError(f"{asked.name!r} names {'one column' if path else 'no file'}; {example}")
    columns = (options["source"], options["target"]) if options else None
    pairs, notes = read_pairs(path, columns=columns, languages=asked.languages)
    languages = asked.languages or columns or ("source", "target")
    return asked.drawn(Path(path).name, pairs, languages=languages, source=path, notes=notes)


def _hub(asked: TextRequest) -> TextSet:
    splits = load_hub_text(asked.name, asked.languages)
    languages = asked.languages or ("source", "target")
    source = f"Hugging Face datasets: {asked.name}"
    return asked.with_splits(asked.name, splits, languages=languages, source=source)


PREFIXES: dict[str, Callable[[TextRequest], TextSet]] = {"tsv": _table, "hf": _hub}
"""What stands before the colon of a user's own pairs -> their loader."""
