"""The classes of own pictures: which there are, and what part of the data lacks or has one too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.own_images.found import Found

HOW = "in a folder each sub folder is a class, in a table --label names the column of the classes"


def classes_of(train: Found) -> tuple[str, ...]:
    """The names that the training pictures have, whole numbers by value, or that their source lists.

    Raises ValueError where there is one alone, or each picture has a class of its own.
    """
    counts = Counter(train.labels)
    names = sorted(counts)
    if len(names) < 2:
        got = f"one class, {names[0]!r}" if names else "no class"
        raise ValueError(f"{train.place} has {got}; there are two at least: {HOW}")
    if max(counts.values()) == 1:
        raise ValueError(
            f"{train.place}: each of its {len(names):,} classes ({', '.join(names[:3])}, ...) has one "
            f"picture, so there is nothing to learn; {HOW}"
        )
    if train.classes is not None:
        return train.classes
    return tuple(sorted(names, key=int)) if all(name.isdecimal() for name in names) else tuple(names)


def numbers_of(found: Found, classes: Sequence[str], part: str, train: str) -> Tensor:
    """The classes of a part's pictures as positions in ``classes``, [n] int64.

    ``train``: the place of the training pictures.  Raises ValueError, with the first such picture, for a
    class that those do not have.
    """
    order = {name: number for number, name in enumerate(classes)}
    unknown = [position for position, name in enumerate(found.labels) if name not in order]
    if unknown:
        names = list(dict.fromkeys(found.labels[position] for position in unknown))
        nearest = did_you_mean(names[0], classes)
        raise ValueError(
            f"{part}: {len(unknown):,} pictures of {found.place} have a class that the training pictures "
            f"({train}) lack: {', '.join(map(repr, names[:5]))}, the first {found.origins[unknown[0]]}."
            f"{nearest} Name classes alike in all parts"
        )
    return torch.tensor([order[name] for name in found.labels], dtype=torch.int64)


def labelled(found: Found) -> list[int]:
    """Positions of the pictures that have a label."""
    return [position for position, label in enumerate(found.labels) if label]


def require_labelled(found: Found, part: str) -> None:
    """Raise ValueError, with the first one, where a picture of a trusted part has no label."""
    if "" in found.labels:
        first = found.origins[found.labels.index("")]
        raise ValueError(
            f"{part}: {first} has no label; trusted pictures have one, so write it or take the picture out"
        )
