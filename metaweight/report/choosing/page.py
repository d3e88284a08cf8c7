"""The page on which a sample is checked: a row a sample, its label to be chosen, and a file to save."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from metaweight.core.shown import shown
from metaweight.data.origins import COLUMNS
from metaweight.data.pictures import Reading, read_picture
from metaweight.report.choosing.sample import Sample

SIDE = 160
"""Pixels of a picture's longer side on the page."""
LONG = 400
"""Characters of a cell that are shown."""


def checking_page(sample: Sample, file: str) -> str:
    """The page as text, which needs no network; ``file``: what the checked rows are saved as."""
    environment = Environment(
        loader=PackageLoader("metaweight.report.choosing", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    return environment.get_template("check.html.jinja").render(
        sample=sample,
        rows=[_row(sample, number) for number in range(len(sample))],
        columns=[name for name in sample.columns if name != sample.label],
        file=file,
        data=_json({"header": _header(sample), "rows": _rows(sample), "label": _place(sample), "file": file}),
    )


def _row(sample: Sample, number: int) -> dict[str, Any]:
    named = dict(zip(sample.columns, sample.cells[number], strict=True))
    given = str(named.pop(sample.label, ""))
    return {
        "where": "" if sample.origins is None else str(sample.origins[number]),
        "cells": [str(cell)[:LONG] for cell in named.values()],
        "given": given,
        "classes": sample.classes if given in sample.classes or not given else (given, *sample.classes),
        "picture": None if sample.open is None else _thumbnail(sample.open(number)),
    }


def _thumbnail(source: object) -> Markup:
    """A small PNG inside of the page; empty where the picture does not open."""
    from PIL import Image

    try:
        picture = Image.fromarray(read_picture(source, Reading()).pixels)
    except (OSError, ValueError) as error:
        return Markup("<em>{}</em>").format(shown(str(error)[:200]))
    picture.thumbnail((SIDE, SIDE))
    kept = io.BytesIO()
    picture.save(kept, "PNG")
    text = base64.b64encode(kept.getvalue()).decode()
    return Markup('<img alt="" src="data:image/png;base64,{}">').format(text)


def _header(sample: Sample) -> list[str]:
    return [*([] if sample.origins is None else COLUMNS), *sample.columns]


def _place(sample: Sample) -> int:
    """Where the label stands in a row; -1: there is none."""
    return _header(sample).index(sample.label) if sample.label else -1


def _rows(sample: Sample) -> list[list[str]]:
    places: list[tuple[str, ...]] = [()] * len(sample)
    if sample.origins is not None:
        places = [origin.cells for origin in sample.origins]
    return [[*place, *map(str, cells)] for place, cells in zip(places, sample.cells, strict=True)]


def _json(value: Any) -> Markup:
    """JSON that stays inside of its script element, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=True)  # so no U+2028 either
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
