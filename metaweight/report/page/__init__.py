"""One self-contained HTML page of a run or a grid: folder -> study -> charts -> document."""

from metaweight.report.page.document import render, write_page
from metaweight.report.page.study import ReadRun, Study, read_study

__all__ = ["ReadRun", "Study", "read_study", "render", "write_page"]
