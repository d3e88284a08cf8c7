"""What the tagger says of each training token, for a person to see which label of a sentence is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from metaweight.core.csv_text import write_csv
from metaweight.core.modes import evaluating
from metaweight.data.origins import COLUMNS
from metaweight.data.rows.loader import IGNORED
from metaweight.tasks.assembly import Assembled
from metaweight.tasks.config import TokensConfig
from metaweight.tasks.rows import PreparedRows
from metaweight.tasks.rows.data import loader
from metaweight.training.evaluation import without_taps
from metaweight.training.run_folder import RunFolder

TOKENS = "tokens.csv"
HEADER = (*COLUMNS, "index", "place", "token", "label", "suggested", "share", "sentence_weight")


def save_tokens(
    config: TokensConfig, prepared: PreparedRows, trained: Assembled, column: str, folder: RunFolder
) -> None:
    """``tokens.csv``: a row a token of the training sentences, probes left out.

    ``row`` is where its sentence begins, ``place`` counts from 1 in it; ``suggested`` is what the tagger of
    the last epoch says, with a share of its probability.
    """
    write_csv(folder.path / TOKENS, HEADER, _rows(config, prepared, trained, column))


def _rows(
    config: TokensConfig, prepared: PreparedRows, trained: Assembled, column: str
) -> Iterator[tuple[object, ...]]:
    student, classes = trained.trainer.reweighter.student, prepared.targets.classes
    weights = trained.weights.mean_weight().tolist()
    sentences = prepared.frame[column].tolist()
    with evaluating(student.module):
        for batch in loader(config, prepared, "train", training=False, positions=prepared.own).epoch(0):
            shares, said = without_taps(student, batch).outputs.softmax(dim=-1).max(dim=-1)
            for row, index in enumerate(batch.index.tolist()):
                cells = prepared.origins[index].cells
                labels = [label for label in batch.targets[row].tolist() if label != IGNORED]
                for place, (token, label) in enumerate(zip(sentences[index], labels, strict=True)):
                    suggested, share = classes[int(said[row, place])], f"{float(shares[row, place]):.3g}"
                    given, weight = classes[label], f"{weights[index]:.6g}"
                    yield (*cells, index, place + 1, token, given, suggested, share, weight)
