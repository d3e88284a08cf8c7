"""Tables of users: CSV, TSV, JSON Lines and Parquet, read the same way for every task."""

from metaweight.data.tables.header import is_header
from metaweight.data.tables.reader import is_table, peek_table, read_table
from metaweight.data.tables.table import Table

__all__ = ["Table", "is_header", "is_table", "peek_table", "read_table"]
