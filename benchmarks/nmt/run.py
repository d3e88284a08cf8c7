"""Translation with bad sentence pairs: every teacher under every kind of noise, scored by BLEU.

make bench-nmt                                     # CLDR phrases, embedded: no download
make bench-nmt DATA=multi30k PROFILE=standard      # METAWEIGHT_DATA names the data folder
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks import suite_command


@dataclass(frozen=True, kw_only=True)
class Arguments(suite_command.Arguments):
    """Translation with bad sentence pairs: every teacher under every kind of noise, scored by BLEU."""

    data: str = "cldr"
    """A text set with a file in benchmarks/nmt/profiles: cldr, multi30k, tatoeba, tatoeba-mini, mismatch;
    tsv:PATH and hf:NAME take multi30k's."""


suite = suite_command.SuiteCommand(
    "nmt", task="translation", arguments=Arguments, borrowed={"tsv": "multi30k", "hf": "multi30k"}
)


if __name__ == "__main__":
    sys.exit(suite())
