"""Cells as a text file holds them, so that what was read of any file can be written as a table and read again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd


def cell_text(cell: Any) -> str:
    """A cell of a frame as text: empty where it is missing, JSON of lists and mappings."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, list | tuple | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return "" if pd.isna(cell) else str(cell)
