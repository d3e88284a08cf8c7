"""Image data sets of the Hugging Face hub, or on disk, through its library ``datasets``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.hub import HubName
from metaweight.data.hub_columns import column_of, file_name, undecoded
from metaweight.data.hub_split import HubSplit, load_split
from metaweight.data.image_set import ImageSet
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.pictures import Picture, Reading, first_of, read_pictures, stacked, what_was_done


def load_hub(text: str) -> ImageSet:
    """The data set that ``text`` (``hf:...``, see HubName) names; a path that exists is read from disk.

    Labels of type ClassLabel keep their order; of another column of whole numbers or strings, the sorted
    distinct training values are the classes.  Nobody says that the labels are right; the rows of ``meta`` and
    ``valid`` are those to trust.  Raises ValueError where it cannot be loaded or does not fit, with the rows.
    """
    source = HubName.parse(text)
    loaded = {
        part: load_split(source.name, source.config, split, splits=tuple(source.splits))
        for part, split in source.splits.items()
    }
    image, label = _columns(loaded, source, text)
    _require_apart(loaded, text)
    train = loaded["train"].rows
    classes, order = _classes(train, label)
    reading = Reading(source.ground, source.size)
    parts = {
        part: _part(split, image, label, order, reading, folder=source.name, where=text)
        for part, split in loaded.items()
    }
    return _image_set(text, source, parts, classes, reading, train.info)


@dataclass(frozen=True)
class _Part:
    """One part of a data set, without the pictures that cannot be read."""

    pictures: list[Picture]
    labels: Tensor
    origins: Origins
    left_out: LeftOut


def _part(
    split: HubSplit,
    image: str,
    label: str,
    order: Mapping[Any, int],
    reading: Reading,
    *,
    folder: str,
    where: str,
) -> _Part:
    labels = _numbers(split.rows[label], order, split.origins, label)
    names: list[str] = []
    pictures, reasons = read_pictures(_cells(split.rows, image, where, folder, names), reading)
    origins = dataclasses.replace(split.origins, names=tuple(names) if any(names) else None)
    whole = [place for place in range(len(pictures)) if place not in reasons]
    return _Part(
        [picture for picture in pictures if picture is not None],
        labels[whole],
        origins.select(whole),
        LeftOut(
            origins.select(list(reasons)),
            tuple(f"the picture cannot be read: {reason}" for reason in reasons.values()),
            ("",) * len(reasons),
        ),
    )


def _image_set(
    text: str,
    source: HubName,
    parts: Mapping[str, _Part],
    classes: tuple[str, ...],
    reading: Reading,
    info: Any,
) -> ImageSet:
    left_out = functools.reduce(LeftOut.join, (part.left_out for part in parts.values()))
    if len(left_out) and source.skip is None:
        broken = [f"{o}: {reason}" for o, reason in zip(left_out.origins, left_out.reasons, strict=True)]
        raise ValueError(f"{first_of(broken)}. Mend or remove them, or leave them out with ?skip=corrupt")
    for name, part in parts.items():
        if not part.pictures:
            raise ValueError(f"{text}: split {source.splits[name]!r} holds no image that can be read")
    pixels = stacked({name: (part.pictures, part.origins) for name, part in parts.items()})
    behind = [name for name in parts if name != "test"]
    trusted, first = {}, 0
    for name in behind:
        trusted[name] = torch.arange(first, first + len(parts[name].labels))
        first += len(parts[name].labels)
    del trusted["train"]
    done = what_was_done([picture for part in parts.values() for picture in part.pictures], reading)
    skipped = [f"{len(left_out):,} that cannot be read are left out"] if len(left_out) else []
    return ImageSet(
        name=text,
        train_images=torch.cat([pixels[name] for name in behind]),
        train_labels=torch.cat([parts[name].labels for name in behind]),
        test_images=pixels["test"],
        test_labels=parts["test"].labels,
        classes=classes,
        clean=False,
        trusted=trusted,
        train_origins=functools.reduce(Origins.join, (parts[name].origins for name in behind)),
        test_origins=parts["test"].origins,
        left_out=left_out,
        source=info.citation or info.homepage or f"Hugging Face datasets: {source.name}",
        notes="; ".join((*done, *skipped)),
    )


def _classes(train: Any, label: str) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Names of the classes, and the number of each value of the label column."""
    from datasets import ClassLabel

    feature = train.features[label]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names), {number: number for number in range(len(feature.names))}
    distinct = sorted({value for value in train[label] if _is_label(value)})
    return tuple(map(str, distinct)), {value: number for number, value in enumerate(distinct)}


def _columns(loaded: Mapping[str, HubSplit], source: HubName, text: str) -> tuple[str, str]:
    """Names of the columns of images and labels.  Raises ValueError where a split lacks one."""
    from datasets import ClassLabel, Image

    features = loaded["train"].rows.features
    image = source.image or column_of(features, Image, text, what="image", way="?image=COLUMN")
    label = source.label or column_of(features, ClassLabel, text, what="label", way="?label=COLUMN")
    for part, split in loaded.items():
        own = split.rows.features
        for column in (image, label):
            if column not in own:
                raise ValueError(
                    f"{text}: split {part!r} has no column {column!r}.{did_you_mean(column, own)}"
                )
        names, first = (getattr(kinds[label], "names", None) for kinds in (own, features))
        if names != first:
            raise ValueError(
                f"{text}: the classes of {part!r} are {names}, of 'train' {first}; give one list"
            )
    return image, label


def _require_apart(loaded: Mapping[str, HubSplit], text: str) -> None:
    """Raise ValueError where a trusted part shares a row with another one."""
    trusted = [part for part in loaded if part in ("meta", "valid")]
    places = {part: dict.fromkeys(o.cells[:2] for o in loaded[part].origins) for part in loaded if trusted}
    for meta in trusted:
        for part in places:
            shared = [place for place in places[meta] if place in places[part]]
            if part != meta and shared:
                raise ValueError(
                    f"{text}: {meta} and {part} share {len(shared)} rows, the first {shared[0][0]}, row "
                    f"{shared[0][1]}; name parts that do not overlap: train[100:] beside train[:100]"
                )


def _cells(rows: Any, column: str, text: str, folder: str, names: list[str]) -> Iterator[Any]:
    """The pictures of a column as they lie in the file, undecoded, one by one; ``names`` gets their files."""
    root = Path(folder).expanduser().resolve()
    for row in undecoded(rows, column, text):
        names.append(file_name(row[column], root))
        yield row[column]


def _is_label(value: object) -> bool:
    return isinstance(value, int | str)


def _numbers(values: Iterable[Any], order: Mapping[Any, int], origins: Origins, column: str) -> Tensor:
    """Label values as positions in ``order``, int64 [N]."""
    numbers = []
    for value, origin in zip(values, origins, strict=True):
        if not _is_label(value) or value not in order:
            raise ValueError(f"{origin} has the label {value!r} in {column!r}, which is no training class")
        numbers.append(order[value])
    return torch.tensor(numbers, dtype=torch.int64)
