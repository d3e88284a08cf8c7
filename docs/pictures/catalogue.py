"""The pictures by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.pictures import attention, cost, finds, influence, over_time, worst
from docs.pictures.page import Page
from metaweight.core.registry import did_you_mean
from metaweight.report.charts.panel import style

GALLERY = Path(__file__).parents[1] / "static" / "gallery"
"""Where the pictures of the documentation lie."""
PICTURES: Mapping[str, Callable[[], Page]] = {
    "worst-digits": worst.worst_digits,
    "worst-mnist": worst.worst_mnist,
    "worst-pairs": worst.worst_pairs,
    "worst-tumours": worst.worst_tumours,
    "worst-clothes": worst.worst_clothes,
    "influence": influence.influence,
    "weights-over-time": over_time.weights_over_time,
    "attention-over-layers": attention.attention_over_time,
    "cost-against-exactness": cost.cost_against_exactness,
    "what-weights-find": finds.what_weights_find,
}
"""Name -> what trains and draws it."""


def make(name: str, folder: Path = GALLERY) -> Path:
    """Make the picture ``name`` and write it into ``folder``, in place of an earlier one; its path.

    Raises KeyError for an unknown name, with the nearest, and ValueError where its data are not there.
    """
    if name not in PICTURES:
        raise KeyError(f"unknown picture {name!r}.{did_you_mean(name, tuple(PICTURES))}")
    path = folder / f"{name}.png"
    with style():
        PICTURES[name]().save(path)
    return path
