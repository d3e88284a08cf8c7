"""Image classification with wrong labels: every teacher under every kind of noise, over seeds.

make bench-image                                   # digits, embedded: no download
make bench-image DATA=cifar10 PROFILE=standard     # METAWEIGHT_DATA names the data folder
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks import suite_command


@dataclass(frozen=True, kw_only=True)
class Arguments(suite_command.Arguments):
    """Image classification with wrong labels: every teacher under every kind of noise, over seeds."""

    data: str = "digits"
    """A data set with a file in benchmarks/image/profiles: digits, cifar10."""


suite = suite_command.SuiteCommand("image", task="image", arguments=Arguments)


if __name__ == "__main__":
    sys.exit(suite())
