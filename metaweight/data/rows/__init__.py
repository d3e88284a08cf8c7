"""Labelled rows of the user's own: read from any file, their targets understood, spoilt where asked for."""

from metaweight.data.rows.source import Rows, of_frame, read_rows
from metaweight.data.rows.spoil import Spoilt, spoil
from metaweight.data.rows.targets import KINDS, TargetKind, Targets, read_targets

__all__ = [
    "KINDS",
    "Rows",
    "Spoilt",
    "TargetKind",
    "Targets",
    "of_frame",
    "read_rows",
    "read_targets",
    "spoil",
]
