"""Pictures of a data set of the Hugging Face hub, or one that its library saved on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from metaweight.core.registry import did_you_mean
from metaweight.data.hub import parse_hub
from metaweight.data.hub_columns import column_of, file_name, undecoded
from metaweight.data.hub_split import EXAMPLE, load_part
from metaweight.data.own_images.found import Found, Wanted
from metaweight.data.own_images.listing import label_name
from metaweight.data.rows.parts import LABELS
from metaweight.data.tables.marks import marked


def find_hub(place: str, part: str, wanted: Wanted) -> Found:
    """The pictures of ``hf:NAME[@CONFIG][?split=SPLIT]``, see ``load_part``.

    The picture column is by default the one of type Image, the label column the one of type ClassLabel, or
    that which is called so.  Raises ValueError where a column is missing or cannot be told.
    """
    from datasets import ClassLabel, Image, Value

    split = load_part(place, part)
    rows, features = split.rows, split.rows.features
    for column in (wanted.picture, wanted.label, wanted.meta_column):
        if column is not None and column not in features:
            raise ValueError(f"{place} has no column {column!r}.{did_you_mean(column, features)}")
    picture = wanted.picture or column_of(features, Image, place, what="picture", way="--picture COLUMN")
    called = [name for name in features if name.lower() in LABELS]
    label = wanted.label or (called[0] if len(called) == 1 else None)
    label = label or column_of(features, ClassLabel, place, what="label", way="--label COLUMN")
    pictures = undecoded(rows, picture, place)
    root = Path(parse_hub(place, ("split",), example=EXAMPLE)[0]).expanduser().resolve()
    names = tuple(file_name(row[picture], root) for row in pictures)
    origins = dataclasses.replace(split.origins, names=names if any(names) else None)
    marks = None
    if wanted.meta_column is not None:
        marks = marked(rows[wanted.meta_column], origins, wanted.meta_column, place)
    classes = tuple(features[label].names) if isinstance(features[label], ClassLabel) else None
    return Found(
        place,
        lambda position: pictures[position][picture],
        tuple(_label(value, classes, origin) for value, origin in zip(rows[label], origins, strict=True)),
        origins,
        classes=classes,
        marks=marks,
        label=label,
        columns={
            name: list(rows[name])
            for name, feature in features.items()
            if isinstance(feature, Value) and name not in (picture, label, wanted.meta_column)
        },
    )


def _label(value: Any, classes: tuple[str, ...] | None, where: object) -> str:
    """The name of a class; of a ClassLabel -1 stands for none."""
    if classes is None or value is None:
        return label_name(value, where)
    return classes[value] if value >= 0 else ""
