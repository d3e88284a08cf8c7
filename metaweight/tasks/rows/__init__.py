"""Labelled rows: what tasks of tables, texts and tokens share, from a user's file to figures and weights."""

from metaweight.tasks.rows.data import Encoder, PreparedRows
from metaweight.tasks.rows.task import RowsTask

__all__ = ["Encoder", "PreparedRows", "RowsTask"]
