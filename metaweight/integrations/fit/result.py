"""What ``metaweight.fit`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from metaweight.core.atomic import whole_file
from metaweight.data.rows.loader import RowsLoader
from metaweight.data.rows.parts import Parts
from metaweight.integrations.fit.given import later_rows
from metaweight.integrations.fit.rating import read_new
from metaweight.report.page.document import write_page
from metaweight.report.page.study import read_study
from metaweight.report.statistics.gain import Gain
from metaweight.report.suspect_tokens import suspect_tokens
from metaweight.report.suspects import Suspects, own_name
from metaweight.student.student import Student
from metaweight.tasks.module.data import Places
from metaweight.tasks.outcome import RunResult
from metaweight.tasks.rating import Rater
from metaweight.tasks.rows import PreparedRows
from metaweight.tasks.rows.measures import two_logits
from metaweight.tasks.text.pretrained import PretrainedTokens
from metaweight.tasks.tokens.said import later_sentences, token_probabilities
from metaweight.tasks.tokens.words import SentenceTokens
from metaweight.training.evaluation import outputs_of
from metaweight.training.sample_weights import SampleWeights

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Fit:
    """A model, the weight of every training row, and which of them look wrong.

    ``print(result)`` says in sentences what came out.
    """

    model: nn.Module
    """The student, a plain torch module in eval mode."""
    weights: np.ndarray[Any, np.dtype[np.float64]]
    """[n], the mean weight of every training row after the warm-up, in the order that they were given in; 1
    for rows that a column marks as trusted, NaN for those that were not used."""
    figures: Mapping[str, float | None]
    """accuracy, r2 and so on of the test rows, as far as they are known; see ``RowsTask``."""
    teacher: str
    folder: Path
    """The run's folder: weights.csv, rows.csv, steps, checkpoint; that of `metaweight train`."""
    samples: SampleWeights
    student: Student
    prepared: PreparedRows
    result: RunResult
    gain: Gain | None = None
    """Over plain training on the same rows: ``.difference``, ``.sentences``; None without ``plain_run``."""
    leads: bool = True
    """Whether this process writes files: of several the first one does."""
    rater: Rater | None = None
    """Student and teacher as they were at the end."""

    def suspects(self) -> pd.DataFrame:
        """The rows that were weighed, the most suspect first: where they are, the user's own columns, given
        and suggested label, weight, loss, ``is_suspect``.

        ``row``: see ``Origin``; ``index``: from 0, as training rows were given, in the order of ``weights``.
        """
        import pandas as pd

        found = self._found
        own = self.prepared.frame.iloc[found.samples.index.numpy()]
        where = found.where()
        where["index"] = places_of(self.prepared.parts)[where["index"]]
        where["row"] = np.array([int(row) if row else None for row in where["row"].tolist()], dtype=object)
        columns = {**where, **{own_name(str(name)): own[name].tolist() for name in own.columns}}
        if found.samples.given is None:
            shown = self.prepared.targets.shown(self.prepared.given[found.samples.index])
            columns[self.prepared.parts.label] = shown
        return pd.DataFrame(found.columns(columns, self.prepared.targets.classes)).astype({"row": "Int64"})

    def suspect_tokens(self) -> pd.DataFrame:
        """The tokens of the sentences that were weighed: where they are, given and suggested label, share,
        weight, and the sentence, in which >>this<< is the token.  First those of which the tagger says
        another label, the lowest weight first, then the others.

        Raises TypeError where rows are no sentences of labelled tokens.
        """
        import pandas as pd

        found = suspect_tokens(self.folder)
        if found is None:
            raise TypeError("these rows have no labelled tokens: suspects() lists them")
        numbers = {"row": int, "index": int, "place": int, "share": float, "weight": float}
        table = pd.DataFrame(found.columns()).astype(numbers)
        return table.assign(index=places_of(self.prepared.parts)[table["index"].to_numpy()])

    def sentences(self) -> tuple[str, ...]:
        """What is gained over plain training, if that was asked for; whether the weights can be believed."""
        gained = () if self.gain is None else self.gain.sentences
        found = self._found.belief
        return gained if found is None else (*gained, *found.sentences)

    @cached_property
    def _found(self) -> Suspects:
        return Suspects(self.samples)

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """What the model says of rows like those of training: names of classes [n], numbers [n], which labels
        a row has [n, L], or of sentences lists [n] of a label a token.  Columns of a DataFrame that were not
        learnt from are passed over.

        Of a module of your own, call ``model``.  Raises TypeError for one.
        """
        targets = self.prepared.targets
        if targets.kind == "tokens":
            tagged = [
                [targets.classes[code] for code in own.argmax(dim=1).tolist()] for own in self._of_tokens(X)
            ]
            return _one_a_cell(tagged)
        outputs = self._outputs(X)
        if targets.kind == "number":
            numbers: np.ndarray[Any, Any] = targets.numbers(outputs.flatten()).numpy()
            return numbers
        if targets.kind == "several":
            said: np.ndarray[Any, Any] = (outputs > 0).numpy()
            return said
        logits = two_logits(outputs) if targets.kind == "one-logit" else outputs
        names: np.ndarray[Any, Any] = np.array(targets.classes, dtype=object)
        labels: np.ndarray[Any, Any] = names[logits.argmax(dim=1).numpy()]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Probabilities [n, C] of ``prepared.targets.classes`` in that order; of several labels that of each.

        Of sentences an array of n arrays, [tokens, C] each.  Raises TypeError where numbers are learnt.
        """
        targets = self.prepared.targets
        if targets.kind == "tokens":
            return _one_a_cell([own.double().numpy() for own in self._of_tokens(X)])
        if targets.kind == "number":
            raise TypeError("numbers were learnt, and they have no probabilities")
        outputs = self._outputs(X).double()
        logits = two_logits(outputs) if targets.kind == "one-logit" else outputs
        said: np.ndarray[Any, Any] = (
            logits.sigmoid() if targets.kind == "several" else logits.softmax(dim=1)
        ).numpy()
        return said

    def _outputs(self, X: Any) -> torch.Tensor:
        if isinstance(self.prepared.encoder, Places):
            raise TypeError("a module of your own predicts by itself: result.model(inputs)")
        rows = later_rows(X, [str(name) for name in self.prepared.frame.columns])
        inputs = self.prepared.encoder.encode(rows)
        nothing = torch.zeros(len(rows), *self.prepared.given.shape[1:], dtype=self.prepared.given.dtype)
        order = torch.arange(len(rows))
        loader = RowsLoader(inputs, nothing, order, batch_size=inputs.at_once, shuffle=False)
        return outputs_of(self.student, loader.epoch(0))[0].cpu()

    def _of_tokens(self, X: Any) -> list[torch.Tensor]:
        encoder = self.prepared.encoder
        assert isinstance(encoder, SentenceTokens | PretrainedTokens)
        batches = later_sentences(encoder, later_rows(X, [encoder.column], tagged=True)).epoch(0)
        return [own.cpu() for _, own in token_probabilities(self.student, batches)]

    def rate(self, rows: Any, *, label: str | None = None, batch_size: int | None = None) -> pd.DataFrame:
        """The weight of rows that were never trained on, each with the label that it was given.

        ``rows``: as ``train`` in ``metaweight.fit``; ``label``: its column in a table for a module of your
        own.  A row each in their order: file, row, name, your own columns, given_label, weight,
        suggested_label, share; NaN where a row has no label.  See ``Rater.rate`` for what a weight depends
        on.  Raises ValueError for a teacher that cannot, and for a class that the run does not know.
        """
        assert self.rater is not None
        return self.rater.rate(read_new(self.rater, rows, label=label), batch_size=batch_size).frame()

    def save(self, path: Path | str) -> None:
        """Write the model's plain ``state_dict``, for ``module.load_state_dict(torch.load(path))``.

        Of several processes the first one does.
        """
        if not self.leads:
            return
        with whole_file(Path(path)) as file:
            torch.save(self.model.state_dict(), file)

    def report(self, path: Path | str = "page.html") -> Path:
        """Write the run's page, one HTML file, and say where it is; of several processes the first writes.

        Raises FileExistsError.
        """
        return write_page(read_study(self.folder), path) if self.leads else Path(path)

    def __repr__(self) -> str:
        known = {name: value for name, value in self.figures.items() if value is not None}
        said = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        lists = ": suspects() lists them" if self._found.is_suspect.any() else ""
        lines = f"teacher {self.teacher}: {said}", f"{self._found.sentence}{lists}.", *self.sentences()
        return "\n".join((*lines, f"folder: {self.folder}"))


def _one_a_cell(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """[n] of objects, whatever their lengths."""
    cells: np.ndarray[Any, Any] = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells


def places_of(parts: Parts) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[n], where each row that was trained on stands among those that were given, from 0."""
    return np.arange(len(parts.train)) if parts.places is None else np.asarray(parts.places)


def weights_of(samples: SampleWeights, parts: Parts) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The mean weight of each training row, in the order that they were given in."""
    own, marked = samples.own, () if parts.marked is None else parts.marked
    places = places_of(parts)
    weights = np.full(len(places) + len(marked) + len(parts.left_out), np.nan)
    weights[places[own.index.numpy()]] = own.mean_weight().double().numpy()
    weights[list(marked)] = 1
    return weights
