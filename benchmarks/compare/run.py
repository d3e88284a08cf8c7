"""Simple remedies, surface teachers and teachers of internal states: the same bad data, the same seeds.

make bench-compare                                   # digits, embedded: no download
make bench-compare DATA=cifar10 PROFILE=standard     # METAWEIGHT_DATA names the data folder
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks import suite_command


@dataclass(frozen=True, kw_only=True)
class Arguments(suite_command.Arguments):
    """Every arm under every kind of bad data, with the statistics of their differences and a report."""

    data: str = "digits"
    """A data set with a file in benchmarks/compare/profiles: digits, cifar10, multi30k."""


suite = suite_command.SuiteCommand("compare", task="image", arguments=Arguments)


if __name__ == "__main__":
    sys.exit(suite())
