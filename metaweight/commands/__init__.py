"""The commands of the command line: each a dataclass of its options that is called to do its work."""

from metaweight.commands.compare import Compare
from metaweight.commands.lists import Engines, Remedies, Teachers
from metaweight.commands.report import Report
from metaweight.commands.suspects import Suspects
from metaweight.commands.train import Train
from metaweight.commands.translate import Score, Translate

__all__ = [
    "Compare",
    "Engines",
    "Remedies",
    "Report",
    "Score",
    "Suspects",
    "Teachers",
    "Train",
    "Translate",
]
