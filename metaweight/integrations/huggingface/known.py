"""What a Hugging Face data set shows of its rows to people: texts and numbers, names of its classes."""

from __future__ import annotations

from typing import Any

from metaweight.integrations.known_rows import KnownRows


def known_rows(dataset: Any, label: str, model: Any) -> KnownRows:
    """Columns of one value a row, but for labels, and the names of classes of the labels or in the model.

    ``dataset``: one of Hugging Face's; of another the names alone are known.  ``label``: the model's name of
    the labels; a data set's own are called so too, or ``label``.
    """
    from datasets import ClassLabel, Dataset, Value

    features = dict(dataset.features) if isinstance(dataset, Dataset) else {}
    labels = [features[name] for name in (label, "label") if name in features]
    names = next((kind.names for kind in labels if isinstance(kind, ClassLabel)), None) or _of_model(model)
    shown = [n for n, kind in features.items() if isinstance(kind, Value) and n not in (label, "label")]
    if not shown:
        return KnownRows(classes=names)
    columns = dataset.with_format(None).select_columns(shown)
    return KnownRows(columns.__getitem__, names)


def _of_model(model: Any) -> list[str]:
    """The names in the model's config, but for those that are numbers with LABEL_ before them."""
    known = getattr(getattr(model, "config", None), "id2label", None) or {}
    names = [str(known[number]) for number in sorted(known)]
    return [] if names == [f"LABEL_{number}" for number in range(len(names))] else names
