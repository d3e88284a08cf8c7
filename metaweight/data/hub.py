"""What ``hf:NAME?...`` says: a data set of the Hugging Face hub or on disk, and how it is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metaweight.core.registry import did_you_mean
from metaweight.data.pictures import Reading

EXAMPLE = (
    "write hf:NAME[@CONFIG][?image=COLUMN&label=COLUMN&train=SPLIT&test=SPLIT&meta=SPLIT&valid=SPLIT"
    "&size=PIXELS&ground=COLOUR&skip=corrupt]"
)
SKIPS = ("corrupt",)


@dataclass(frozen=True)
class HubName:
    """What ``hf:NAME[@CONFIG][?OPTION=VALUE&...]`` says."""

    name: str
    """Of the hub (``uoft-cs/cifar10``), or a path: save_to_disk's folder, an image folder, a parquet file."""
    config: str | None = None
    image: str | None = None
    """Column; by default the one of type Image."""
    label: str | None = None
    """Column; by default the one of type ClassLabel."""
    train: str = "train"
    test: str = "test"
    """Splits, or parts of them: ``train[80%:]``."""
    meta: str | None = None
    valid: str | None = None
    """Splits, or parts, of trusted rows: somebody has checked their labels."""
    size: int | None = None
    """Resize to so many pixels square (bilinear); by default all images must have one size."""
    ground: str = "white"
    """What lies under transparent pixels: white, black or #rrggbb."""
    skip: str | None = None
    """``corrupt``: leave out pictures that cannot be read; by default they are an error."""

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Raises ValueError for a missing name, TypeError for an unknown option (with the nearest)."""
        names = [field.name for field in dataclasses.fields(cls)][2:]
        name, config, settings = parse_hub(text, names, example=EXAMPLE)
        options: dict[str, Any] = dict(settings)
        if "size" in settings:
            if not (settings["size"].isdecimal() and int(settings["size"])):
                raise ValueError(f"{text!r}: option 'size' has the value {settings['size']!r}; {EXAMPLE}")
            options["size"] = int(settings["size"])
        if settings.get("skip", "corrupt") not in SKIPS:
            raise ValueError(f"{text!r}: option 'skip' has the value {settings['skip']!r}; {EXAMPLE}")
        if "valid" in settings and "meta" not in settings:
            raise ValueError(f"{text!r} names valid, but no trusted rows for the meta set; {EXAMPLE}")
        try:
            Reading(options.get("ground", "white"))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        return cls(name, config, **options)

    @property
    def splits(self) -> dict[str, str]:
        """Part (train, test, meta, valid) -> the split that it is, for those that are named."""
        named = {part: getattr(self, part) for part in ("train", "test", "meta", "valid")}
        return {part: split for part, split in named.items() if split is not None}


def parse_hub(text: str, known: Sequence[str], *, example: str) -> tuple[str, str | None, dict[str, str]]:
    """Take ``hf:NAME[@CONFIG][?OPTION=VALUE&...]`` apart: name, config or None, the options given.

    Raises ValueError (with ``example``) for a missing name or value, TypeError for an option that is not in
    ``known`` (with the nearest).
    """
    location, _, query = text.removeprefix("hf:").partition("?")
    name, _, config = location.partition("@")
    if not name:
        raise ValueError(f"{text!r} names no data set; {example}")
    return name, config or None, parse_options(text, query, known, example=example)


def parse_options(text: str, query: str, known: Sequence[str], *, example: str) -> dict[str, str]:
    """The options of ``OPTION=VALUE&...``, the ``query`` of ``text``; errors as ``parse_hub`` has them."""
    options = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise TypeError(f"{text!r} has an unknown option {key!r}.{did_you_mean(key, known)}")
        if not value:
            raise ValueError(f"{text!r}: option {key!r} has the value {value!r}; {example}")
        options[key] = value
    return options
