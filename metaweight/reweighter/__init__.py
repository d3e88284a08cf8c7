"""One meta-iteration of a student and its teacher, over one step or a window of K."""

from metaweight.reweighter.collapse import CollapseWatch
from metaweight.reweighter.reweighter import Reweighter

__all__ = ["CollapseWatch", "Reweighter"]
