"""What the pages are made with: templates that escape, data for their scripts, pictures inside of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from metaweight.core.shown import shown


def environment(package: str) -> Environment:
    """The templates of ``package``; whatever text of a user's comes into them stays text."""
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # what is Markup is made of such text, or of none
        finalize=lambda value: shown(value) if type(value) is str else value,
    )


def script_data(value: Any) -> Markup:
    """JSON that stays inside of its script element, whatever text is in it."""
    return htmlsafe_json_dumps(value, separators=(",", ":"))


def png_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]], largest: int) -> str:
    """[H, W] or [H, W, 3] -> the data URI of a PNG of at most ``largest`` pixels a side."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((largest, largest))
    memory = io.BytesIO()
    picture.save(memory, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(memory.getvalue()).decode()}"
