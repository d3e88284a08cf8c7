"""pairs.csv and tokens.csv have the bytes that a row at a time gives them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from metaweight.core import csv_columns
from metaweight.core.csv_columns import write_blocks
from metaweight.core.csv_text import csv_text, number_as_cell
from metaweight.data.origins import Origins
from metaweight.data.rows.loader import IGNORED
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.noise import NoisyBitext
from metaweight.tasks.tokens import results
from metaweight.tasks.tokens.results import HEADER, Said
from metaweight.tasks.translation.pairs import write_pairs

WORDS = ("", "a", 'say "no"', "x,y", "\u00e9", "two\nlines", "back\rthere", "\u2028", "\ud83d", "\0", "-1")


@pytest.mark.parametrize("named", [True, False])
def test_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Probes at the end, blocks that end within the table, pairs that were never seen, files without rows."""
    monkeypatch.setattr(csv_columns, "BLOCK", 7)
    draw, count, own = Random(0), 40, 33
    source, target = ([" ".join(draw.choices(WORDS, k=3)) for _ in range(count)] for _ in range(2))
    names = tuple(draw.choices(WORDS, k=count)) if named else None
    rows = torch.arange(count) % 5
    origins = Origins(("a.tsv", "b,c.tsv"), torch.arange(count) % 2, rows, names, "line")
    kind, flipped = torch.arange(count) % 3, torch.zeros(count, dtype=torch.bool)
    noisy = NoisyBitext(Bitext(source, target), kind, ("copied", "cut"), flipped, 0.0, 0.0)
    weights = torch.rand(count, generator=torch.Generator().manual_seed(1)) * 10.0 ** (rows * 3 - 6)
    weights[::6] = torch.nan
    write_pairs(tmp_path / "pairs.csv", noisy, origins, weights, own)
    header = ("file", "row", "name", "index", "mean_weight", "kind", "source", "target")
    lines = [
        (
            *origins[at].cells,
            at,
            number_as_cell(weights[at].item()),
            ("", "copied", "cut")[at % 3],
            source[at],
            target[at],
        )
        for at in range(own)
    ]
    assert (tmp_path / "pairs.csv").read_bytes() == csv_text(header, lines).encode()


@pytest.mark.parametrize("block", [1, 10, 1000])
def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Sentences of several lengths in another order than they lie, some without a weight."""
    monkeypatch.setattr(results, "BLOCK", block)
    draw, generator = Random(0), torch.Generator().manual_seed(1)
    lengths, classes = [3, 1, 7, 5, 2, 7], ["O", "B-X", 'I-"X"']
    sentences = [draw.choices(WORDS, k=length) for length in lengths]
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    given = torch.where(real, torch.randint(3, real.shape, generator=generator), IGNORED)
    origins = Origins.of("a.bio", [1, 5, 7, 15, 21, 24], unit="line")
    shares = [torch.rand(length, 3, generator=generator).softmax(dim=-1) for length in lengths]
    weights = [torch.rand(length, generator=generator).tolist() for length in lengths]
    weights[3] = [float("nan")] * lengths[3]
    order = [2, 0, 1, 5, 3, 4]
    blocks = Said(classes, sentences, given, origins).blocks(
        ((at, shares[at]) for at in order), lambda at, tokens: weights[at][:tokens]
    )
    with (tmp_path / "tokens.csv").open("wb") as file:
        assert write_blocks(file, HEADER, blocks) == sum(lengths)
    lines = [
        (
            *origins[at].cells,
            at,
            place + 1,
            sentences[at][place],
            classes[given[at, place]],
            classes[shares[at][place].argmax()],
            f"{shares[at][place].max().item():.3g}",
            number_as_cell(weights[at][place]),
        )
        for at in order
        for place in range(lengths[at])
    ]
    assert (tmp_path / "tokens.csv").read_bytes() == csv_text(HEADER, lines).encode()
    assert not list(Said(classes, sentences, given, origins).blocks(iter(()), lambda *_: []))
