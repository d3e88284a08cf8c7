"""One meta-iteration of a student and its teacher, over one step or a window of K.

``schedules`` writes each iteration as the papers do; the Reweighter only chooses.
"""

from metaweight.reweighter.collapse import CollapseWatch
from metaweight.reweighter.reweighter import Reweighter

__all__ = ["CollapseWatch", "Reweighter"]
