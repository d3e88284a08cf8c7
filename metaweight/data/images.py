"""The image data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metaweight.core.registry import Registry, did_you_mean
from metaweight.data.digits import digits
from metaweight.data.folder import ELSEWHERE, data_folder
from metaweight.data.hub_images import load_hub
from metaweight.data.idx import fashion_mnist, mnist
from metaweight.data.image_set import ImageSet

datasets: Registry[Callable[[Path | None], ImageSet]] = Registry("data set", group="metaweight.datasets")
"""Name -> loader; it gets the folder of the data files, or None where none is named."""
datasets.add("digits", digits)
datasets.add("fashion-mnist", fashion_mnist)
datasets.add("mnist", mnist)


def load_images(name: str, data_dir: str | Path | None = None) -> ImageSet:
    """The data set ``name``: one of ``datasets``, or ``hf:NAME`` through Hugging Face's ``datasets``.

    ``data_dir``: folder of the data files, by default what METAWEIGHT_DATA names; ``hf:`` does not use it
    (see ``hub_images.load_hub``).  Raises KeyError for an unknown name, ValueError for missing or broken
    files.
    """
    if name.startswith("hf:"):
        return load_hub(name)
    if name not in datasets:
        hint = did_you_mean(name, datasets.names())
        raise KeyError(
            f"unknown data set {name!r}.{hint} Or hf:NAME, a data set of the Hugging Face hub; {ELSEWHERE}."
        )
    return datasets[name](data_folder(data_dir))
