"""The commands of the command line: each a dataclass of its options that is called to do its work."""

from metaweight.cli.compare import Compare
from metaweight.cli.lists import Engines, Remedies, Teachers
from metaweight.cli.report import Report
from metaweight.cli.suspects import Suspects
from metaweight.cli.train import Train
from metaweight.cli.translate import Score, Translate

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
