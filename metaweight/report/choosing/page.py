"""The page on which a sample is checked: a row a sample, its label to be chosen, and a file to save."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from metaweight.core.shown import shown
from metaweight.data.pictures import Reading, read_picture
from metaweight.report.choosing.sample import Sample
from metaweight.report.html import environment, png_uri, script_data

SIDE = 160
"""Pixels of a picture's longer side on the page."""
LONG = 20_000
"""Characters of a cell that are shown."""


def checking_page(sample: Sample, file: str) -> str:
    """The page as text, which needs no network; ``file``: what the checked rows are saved as."""
    at = sample.columns.index(sample.label) if sample.kind != "none" else None
    columns = [place for place in range(len(sample.columns)) if place != at]
    return (
        environment("metaweight.report.choosing")
        .get_template("check.html.jinja")
        .render(
            sample=sample,
            rows=[_row(sample, number, columns) for number in range(len(sample))],
            columns=[sample.columns[place] for place in columns],
            file=file,
            data=script_data(
                {
                    "header": sample.header,
                    "rows": sample.rows,
                    # of the last columns, which are the owner's
                    "label": -1 if at is None else len(sample.header) - len(sample.columns) + at,
                    "kind": sample.kind,
                    "classes": sample.classes,
                    "names": [shown(name) for name in sample.classes],
                    "file": file,
                }
            ),
        )
    )


def _row(sample: Sample, number: int, columns: list[int]) -> dict[str, Any]:
    cells = sample.cells[number]
    return {
        "where": "" if sample.origins is None else str(sample.origins[number]),
        "cells": [_shortened(cells[place]) for place in columns],
        "picture": None if sample.open is None else _thumbnail(sample.open(number)),
    }


def _shortened(cell: str) -> str:
    return cell if len(cell) <= LONG else f"{cell[:LONG]} ... ({len(cell) - LONG:,} characters more)"


def _thumbnail(source: object) -> Markup:
    """A small PNG inside of the page; what is wrong where the picture does not open."""
    try:
        pixels = read_picture(source, Reading()).pixels
    except (OSError, ValueError) as error:
        return Markup("<em>{}</em>").format(shown(str(error)[:200]))
    return Markup('<img alt="" src="{}">').format(png_uri(pixels, SIDE))
