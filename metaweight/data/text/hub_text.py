"""Sentence pairs of the Hugging Face hub, or on disk, through its library ``datasets``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from metaweight.core.registry import did_you_mean
from metaweight.data.hub import parse_hub
from metaweight.data.hub_split import HubSplit, load_split
from metaweight.data.text.bitext import Bitext

EXAMPLE = "write hf:NAME[@CONFIG][?source=COLUMN&target=COLUMN&train=SPLIT&valid=SPLIT&test=SPLIT&meta=SPLIT]"
SPLITS = ("train", "valid", "test", "meta")


@dataclass(frozen=True)
class HubText:
    """What ``hf:NAME[@CONFIG][?OPTION=VALUE&...]`` says of a translation set."""

    name: str
    """Of the hub (``bentrevett/multi30k``), or a path: save_to_disk's folder, a parquet file."""
    config: str | None = None
    source: str | None = None
    target: str | None = None
    """Columns of strings, given both or neither; by default found by the languages."""
    train: str = "train"
    valid: str = "validation"
    test: str = "test"
    """Splits, or parts of them: ``train[80%:]``."""
    meta: str | None = None
    """Split, or part of one, of trusted pairs: somebody has checked them."""

    @classmethod
    def parse(cls, text: str) -> HubText:
        """Raises ValueError for a missing name or half the columns, TypeError for an unknown option."""
        names = [field.name for field in fields(cls)][2:]
        name, config, options = parse_hub(text, names, example=EXAMPLE)
        if ("source" in options) != ("target" in options):
            raise ValueError(f"{text!r}: source and target go together; {EXAMPLE}")
        return cls(name, config, **options)


def load_hub_text(text: str, languages: tuple[str, str] | None = None) -> dict[str, Bitext]:
    """Splits ``train``, ``valid``, ``test`` of the set that ``text`` (``hf:...``, see HubText) names.

    And ``meta``, where that is named.  A pair's origin is its row, from 1, in the whole split, whatever part
    of it was asked for.  ``languages``: source and target.  Without columns named in ``text``,
    the pairs are those of the one column that holds both languages (of type Translation, or a plain
    dictionary), else of the two columns called like the languages.  Raises ValueError where a set cannot be
    loaded or does not fit.
    """
    source = HubText.parse(text)
    loaded = {}
    for name in SPLITS:
        split = getattr(source, name)
        if split is None:
            continue
        found = load_split(source.name, source.config, split, splits=SPLITS)
        loaded[name] = _pairs(found, source, languages, f"{text}, split {split!r}")
    return loaded


def _pairs(found: HubSplit, chosen: HubText, languages: tuple[str, str] | None, where: str) -> Bitext:
    rows, nested = found.rows, None
    if chosen.source is not None and chosen.target is not None:
        keys = chosen.source, chosen.target
    elif languages is None:
        raise ValueError(f"{where}: name the languages, source and target, or both columns; {EXAMPLE}")
    else:
        keys, nested = languages, _nested(rows.features, languages, where)
    if nested is None:
        for key in keys:
            if key not in rows.features:
                hint = did_you_mean(key, rows.features)
                raise ValueError(f"{where} has no column {key!r}.{hint} Or {EXAMPLE}")
        sides = [list(rows[key]) for key in keys]
    else:
        cells = list(rows[nested])
        sides = [[cell and cell[key] for cell in cells] for key in keys]
    for key, sentences in zip(keys, sides, strict=True):
        for position, sentence in enumerate(sentences):
            if not isinstance(sentence, str):
                raise ValueError(f"{found.origins[position]}: no sentence in {key!r}, got {sentence!r}")
    if not sides[0]:
        raise ValueError(f"{where} has no row")
    return Bitext(tuple(sides[0]), tuple(sides[1]), found.origins)


def _nested(features: Mapping[str, Any], languages: tuple[str, str], where: str) -> str | None:
    """The one column whose cells hold both languages; None where no column holds several."""
    held = {name: found for name, feature in features.items() if (found := _languages(feature))}
    fitting = [name for name, found in held.items() if set(languages) <= set(found)]
    if len(fitting) == 1 or not held:
        return fitting[0] if fitting else None
    if fitting:
        raise ValueError(f"{where} has {len(fitting)} columns with {' and '.join(languages)}: {fitting}")
    if set(languages) <= set(features):
        return None
    have = "; ".join(f"{name!r} holds {', '.join(found)}" for name, found in held.items())
    raise ValueError(f"{where} has no pairs of {' and '.join(languages)}: column {have}")


def _languages(feature: Any) -> tuple[str, ...]:
    import datasets

    if isinstance(feature, datasets.Translation):
        return tuple(feature.languages)
    return tuple(feature) if isinstance(feature, dict) else ()
