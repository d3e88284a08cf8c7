"""``metaweight rate``: weights of rows that were never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_text import write_csv
from metaweight.tasks.rating import Rated, load_rater
from metaweight.tasks.tokens.results import HEADER
from metaweight.tasks.translation.token_weights import load_pieces, token_lines

SHOWN = 3
"""Rows left out that are named."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """New rows and a finished run; a call weighs the rows, each with the label that it was given."""

    new: Annotated[str, Positional]
    """Rows of the kind that the run was trained on, with their labels: a table, texts, sentences, a folder of
    pictures, sentence pairs (two files: A,B)."""
    rater: str
    """Folder of a finished run of `metaweight train`."""
    out: str = "rated.csv"
    """File of the rows with their weights, in their order; must not exist. Beside it lie, of sentences of
    labelled tokens, the tokens (rated_tokens.csv), and, of sentence pairs, the weights alone, a line a pair
    (rated.weights)."""
    target_pieces: str | None = None
    """SentencePiece model of your own for the target side of sentence pairs (Marian: vocab.spm). Writes
    rated.token_weights too: a line a pair, the weight of each piece that it cuts the target into and of the
    end of the sentence, as Marian reads with --data-weighting-type word."""
    batch_size: int | None = None
    """Rows that go through the student at once; weights do not depend on it. Default: as many as fit."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; default: the run's."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""

    def __call__(self) -> None:
        out = Path(self.out)
        by_token = out.with_name(f"{out.stem}_tokens.csv")
        lines = out.with_name(f"{out.stem}.weights")
        by_piece = out.with_name(f"{out.stem}.token_weights")
        for place in (out, by_token, lines, by_piece):
            if place.exists():
                raise FileExistsError(f"{place} exists: choose another file with --out")
        pieces = None if self.target_pieces is None else load_pieces(self.target_pieces)
        rated = rated_rows(
            self.new, self.rater, batch_size=self.batch_size, device=self.device, threads=self.threads
        )
        by_target = None if pieces is None else token_lines(rated, pieces)
        with whole_file(out) as file:
            file.write(rated.to_csv().encode())
        console = Terminal()
        console.print(f"{len(rated.new.places):,} rows: {out}", soft_wrap=True)
        if rated.tokens is not None:
            write_csv(by_token, HEADER, rated.tokens)
            console.print(f"{len(rated.tokens):,} tokens: {by_token}", soft_wrap=True)
        if rated.lines is not None:
            with whole_file(lines) as file:
                file.write(rated.lines.encode())
            console.print(f"weights alone, a line a pair: {lines}", soft_wrap=True)
        if by_target is not None:
            with whole_file(by_piece) as file:
                file.writelines(line.encode() for line in by_target)
            console.print(f"weights of the targets' tokens, a line a pair: {by_piece}", soft_wrap=True)
        if rated.all_equal:
            console.print("all weights are equal: this run tells these rows apart in nothing")


def rated_rows(
    new: str,
    rater: str,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Rated:
    """The rows of ``new`` as the run in the folder ``rater`` weighs them; says what is left out.

    Raises ValueError for numbers below 1, and as ``load_rater`` and ``Reader.read``.
    """
    import torch

    for option, number in {"batch-size": batch_size, "threads": threads}.items():
        if number is not None and number < 1:
            raise ValueError(f"--{option} is 1 or more, got {number}")
    if threads is not None:
        torch.set_num_threads(threads)
    left = load_rater(rater, device=device)
    rows = left.reader.read(new)
    console = Terminal()
    for origin, reason in list(zip(rows.left_out.origins, rows.left_out.reasons, strict=True))[:SHOWN]:
        console.print(f"no weight for {origin}: {reason}", soft_wrap=True)
    if (more := len(rows.left_out) - SHOWN) > 0:
        console.print(f"nor for {more:,} more", soft_wrap=True)
    return left.rate(rows, batch_size=batch_size)
