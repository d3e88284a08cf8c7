"""Tables: from columns of numbers, categories, dates and booleans to tensors, and batches of their rows."""

from metaweight.data.tabular.encoder import EncodedTable, TableEncoder
from metaweight.data.tabular.frames import as_frame
from metaweight.data.tabular.loader import TableLoader

__all__ = ["EncodedTable", "TableEncoder", "TableLoader", "as_frame"]
