"""How good a tagger is, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metaweight.core.contracts import Batch
from metaweight.data.rows.loader import IGNORED
from metaweight.data.tokens.targets import OUTSIDE
from metaweight.student.student import Student
from metaweight.training.evaluation import Evaluate, of_each, without_taps


def measure(classes: Sequence[str]) -> Evaluate:
    """(student, batches) -> loss a token, accuracy of tokens, and F1 of those that are something.

    Accuracy and F1 in percent.  F1 counts tokens, not whole entities: right ones among those that are said to
    be something, and among those that are, whatever is not ``O``; without a label ``O`` it is the accuracy.
    """
    outside = classes.index(OUTSIDE) if OUTSIDE in classes else IGNORED

    def figures(student: Student, batches: Iterable[Batch]) -> Mapping[str, float]:
        def found(batch: Batch) -> tuple[int, int, int, float, int]:
            forward, real = without_taps(student, batch), batch.targets != IGNORED
            said, truth = forward.outputs[real].argmax(dim=1), batch.targets[real]
            same = said == truth
            hits = int((same & (truth != outside)).sum())
            named = int((said != outside).sum()) + int((truth != outside).sum())
            return int(same.sum()), hits, named, float(forward.loss.mean()) * len(truth), len(truth)

        right, hits, named, loss, count = map(sum, zip(*of_each(student, batches, found), strict=True))
        f1 = 200 * hits / named if named else 100.0
        return {"accuracy": 100 * right / count, "f1": f1, "loss": loss / count}

    return figures
