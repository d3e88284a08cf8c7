"""Tables: from columns of numbers, categories, dates and booleans to tensors."""

from metaweight.data.tabular.encoder import EncodedTable, TableEncoder
from metaweight.data.tabular.frames import as_frame

__all__ = ["EncodedTable", "TableEncoder", "as_frame"]
