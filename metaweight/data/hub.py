"""Image data sets of the Hugging Face hub, or on disk, through its library ``datasets``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.image_set import ImageSet

EXAMPLE = "write hf:NAME[@CONFIG][?image=COLUMN&label=COLUMN&train=SPLIT&test=SPLIT&size=PIXELS]"


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
    """Splits; where the library itself loads them, parts as well: ``train[80%:]``."""
    size: int | None = None
    """Resize to so many pixels square (bilinear); by default all images must have one size."""

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
        return cls(name, config, **options)


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


def load_hub(text: str) -> ImageSet:
    """The data set that ``text`` (``hf:...``, see HubName) names; a path that exists is read from disk.

    Labels of type ClassLabel keep their order; of another column of whole numbers or strings, the sorted
    distinct training values are the classes.  Raises ValueError where it cannot be loaded or does not fit.
    """
    from datasets import ClassLabel, Image

    source = HubName.parse(text)
    splits = {
        name: load_split(source.name, source.config, getattr(source, name), splits=("train", "test"))
        for name in ("train", "test")
    }
    features = splits["train"].features
    image = source.image or _column(features, Image, "image", text)
    label = source.label or _column(features, ClassLabel, "label", text)
    for split, rows in splits.items():
        for column in (image, label):
            if column not in rows.features:
                hint = did_you_mean(column, rows.features)
                raise ValueError(f"{text}: split {split!r} has no column {column!r}.{hint}")
    values = {split: list(rows[label]) for split, rows in splits.items()}
    if isinstance(features[label], ClassLabel):
        classes = tuple(features[label].names)
        order: dict[Any, int] = {number: number for number in range(len(classes))}
    else:
        distinct = sorted({value for value in values["train"] if _is_label(value)})
        classes, order = tuple(map(str, distinct)), {value: number for number, value in enumerate(distinct)}
    info = splits["train"].info
    return ImageSet(
        name=text,
        train_images=_pixels(splits["train"], image, source.size, text),
        train_labels=_numbers(values["train"], order, f"{text}, split {source.train!r}, column {label!r}"),
        test_images=_pixels(splits["test"], image, source.size, text),
        test_labels=_numbers(values["test"], order, f"{text}, split {source.test!r}, column {label!r}"),
        classes=classes,
        source=info.citation or info.homepage or f"Hugging Face datasets: {source.name}",
    )


def load_split(name: str, config: str | None, split: str, *, splits: Sequence[str]) -> Any:
    """One split of ``name`` on the hub, or on disk where it is a path, as a ``datasets.Dataset``.

    ``splits``: the options that name splits, for the message of the ValueError where it cannot be loaded.
    """
    import datasets

    path = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not path.exists():
        raise ValueError(f"hf:{name}: there is no such file or folder")
    try:
        if (path / "dataset_dict.json").is_file():
            saved = datasets.load_from_disk(str(path))
            if split not in saved:
                raise ValueError(f"no split {split!r}.{did_you_mean(split, saved)}")
            return saved[split]
        if (path / "state.json").is_file():
            wanted = " and ".join(splits)
            raise ValueError(f"one split alone is saved there; save a DatasetDict with {wanted}")
        if path.is_file():
            return datasets.load_dataset("parquet", data_files={"train": str(path)}, split=split)
        return datasets.load_dataset(str(path) if path.exists() else name, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        query = "&".join(f"{option}=NAME" for option in splits)
        raise ValueError(
            f"hf:{name}, split {split!r}, cannot be loaded: {error} Check name and splits (?{query}), "
            "or without a network name a folder: hf:PATH"
        ) from error


def _column(features: Mapping[str, Any], kind: type, option: str, text: str) -> str:
    """The one column of type ``kind``."""
    matches = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(matches) != 1:
        have = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise ValueError(
            f"{text} has {len(matches)} columns of type {kind.__name__}; name the {option} column with "
            f"?{option}=COLUMN. Columns: {have}"
        )
    return matches[0]


def _pixels(rows: Any, column: str, size: int | None, text: str) -> Tensor:
    """The images of a column: uint8 [N, 1, H, W] if all are grey, else [N, 3, H, W]."""
    import datasets
    from PIL import Image

    if not isinstance(rows.features[column], datasets.Image):
        try:
            rows = rows.cast_column(column, datasets.Image())
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{text}: column {column!r} holds {rows.features[column]}, no images") from error
    images: list[Any] = []
    for position, row in enumerate(rows.select_columns([column])):
        image = row[column]
        if image is None or image.mode.startswith(("I", "F")):
            got = "no image" if image is None else f"an image of mode {image.mode}, not of 8 bits"
            raise ValueError(f"{text}: row {position} has {got}")
        if size is not None:
            image = image.convert("L" if _is_grey(image) else "RGB")
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        if images and image.size != images[0].size:
            raise ValueError(
                f"{text}: image {position} has {image.size[0]}x{image.size[1]} pixels, the first "
                f"{images[0].size[0]}x{images[0].size[1]}; resize all with ?size=PIXELS"
            )
        images.append(image)
    if not images:
        raise ValueError(f"{text}: a split holds no image")
    mode = "L" if all(map(_is_grey, images)) else "RGB"
    stacked = torch.from_numpy(np.stack([np.asarray(image.convert(mode)) for image in images]))
    return stacked.unsqueeze(1) if mode == "L" else stacked.permute(0, 3, 1, 2).contiguous()


def _is_grey(image: Any) -> bool:
    return image.mode in ("1", "L")


def _is_label(value: object) -> bool:
    return isinstance(value, int | str)


def _numbers(values: Iterable[Any], order: Mapping[Any, int], where: str) -> Tensor:
    """Label values as positions in ``order``, int64 [N]."""
    numbers = []
    for position, value in enumerate(values):
        if not _is_label(value) or value not in order:
            raise ValueError(f"{where}: row {position} has the label {value!r}, which is no training class")
        numbers.append(order[value])
    return torch.tensor(numbers, dtype=torch.int64)
