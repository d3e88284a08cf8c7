"""Rows for a person to check: a sample of the user's own data, as a table and as a page to check it on."""

from metaweight.report.choosing.choice import Choice, choose
from metaweight.report.choosing.page import checking_page
from metaweight.report.choosing.sample import Sample

__all__ = ["Choice", "Sample", "checking_page", "choose"]
