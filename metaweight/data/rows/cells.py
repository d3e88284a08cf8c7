"""Cells as a text file holds them, whatever file they were read from."""

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
