"""ReweightedClassifier: scikit-learn's classifier interface over a Reweighter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from metaweight.integrations.sklearn.base import Array, ReweightedEstimator
from metaweight.integrations.sklearn.labels import (
    OF_EACH,
    answers_like,
    answers_of,
    classes_of,
    codes_of,
    has_columns,
    one_column,
    require_both,
    require_each,
)
from metaweight.integrations.sklearn.trusted import Trusted, drawn, require_trusted
from metaweight.student.losses import binary_cross_entropy, cross_entropy


def _gives_probabilities(estimator: ReweightedClassifier) -> bool:
    final = getattr(estimator, "final_estimator_", estimator.final_estimator)
    return final is None or hasattr(final, "predict_proba")


class ReweightedClassifier(ClassifierMixin, ReweightedEstimator):
    __doc__ = f"""A classifier of tables that learns which training rows to believe from a few trusted ones.

    Example::

        from metaweight import ReweightedClassifier
        model = ReweightedClassifier(random_state=0).fit(X, y, X_meta=X_checked, y_meta=y_checked)
        model.suspects_.head(20), model.score(X_test, y_test)

    {(ReweightedEstimator.__doc__ or "").partition(chr(10) * 2)[2].lstrip()}
    y [n, L] of 0 and 1 are L labels, of which a row may have several: ``predict`` then gives such a table,
    ``predict_proba`` [N, L] how probable each is, ``suspects_`` the labels of a row as a tuple, and
    ``classes_`` are the names of y's columns, where it has any, or their numbers.

    After ``fit``: ``classes_``; ``sample_weight_`` [n], each row's mean weight after the warm-up, 1 for
    trusted rows of X; ``suspects_``, a DataFrame of the rows that were weighed, the least trusted first (row,
    index, given_label, suggested_label, share, mean_weight, loss, is_suspect); ``belief_``, whether the
    weights can be believed (``sentences`` say it; None where all weigh the same); ``module_``, ``teacher_``,
    ``engine_``, ``history_``, ``encoder_``, ``notes_``, ``final_estimator_``.

    In a cross-validation give trusted rows as ``params``: ``cross_val_score(model, X, y, params={{"X_meta":
    X_checked, "y_meta": y_checked}})``; with metadata routing, ``model.set_fit_request(X_meta=True,
    y_meta=True)``.  In a Pipeline name checked rows of X, which are transformed with it: ``pipe.fit(X, y,
    reweightedclassifier__meta=mask)``; X_meta is so only by ``Pipeline(steps, transform_input=["X_meta"])``.
    """

    classes_: Array

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, X_meta: Any = None, y_meta: Any = None, meta: Any = None) -> Any:
        """Train on X [n, d] with labels y [n] or [n, L]; trusted rows are X_meta [m, d] with y_meta, or of X.

        ``meta``: a boolean mask [n] or positions of trusted rows within X.  Labels are of any type that can
        be put in order.  Raises ValueError or TypeError, in words, for tables and labels that do not do.
        """
        frame = self._table(X, reset=True)
        self._several = has_columns(y)
        seen = (self._fit_several if self._several else self._fit_classes)(frame, y, X_meta, y_meta, meta)
        self.suspects_ = seen
        return self

    def _fit_classes(self, frame: pd.DataFrame, y: Any, X_meta: Any, y_meta: Any, meta: Any) -> pd.DataFrame:
        labels = one_column(y, "y", len(frame))
        self.classes_, codes = classes_of(labels)
        trusted = self._trusted(frame, X_meta, y_meta, meta)
        if trusted is None:
            needed = f"{OF_EACH} or more of each class do, {OF_EACH * len(self.classes_)} or more here."
            trusted = self._drawn(codes, needed)
        right = (
            codes[trusted.meta] if y_meta is None else codes_of(one_column(y_meta, "y_meta"), self.classes_)
        )
        if self.meta_from_train is None or y_meta is not None or meta is not None:
            require_each(right, self.classes_)
        apart = None if y_meta is None else torch.from_numpy(right)
        size = len(self.classes_)
        targets = torch.from_numpy(codes)
        seen = self._train(frame, X_meta, targets, apart, trusted, loss=cross_entropy, outputs=size)
        return seen.table(list(self.classes_), given=seen.targets, probabilities=seen.outputs.softmax(dim=1))

    def _fit_several(self, frame: pd.DataFrame, y: Any, X_meta: Any, y_meta: Any, meta: Any) -> pd.DataFrame:
        given = answers_of(y, "y", len(frame))
        self.classes_ = np.asarray(y.columns if isinstance(y, pd.DataFrame) else range(given.shape[1]))
        trusted = self._trusted(frame, X_meta, y_meta, meta)
        if trusted is None:
            needed = f"{OF_EACH} or more with each label do, and as many without."
            trusted = self._drawn(np.zeros(len(given), dtype=np.int64), needed)
        right = given[trusted.meta] if y_meta is None else answers_like(y_meta, self.classes_)
        if trusted.checked:
            require_both(right, given, self.classes_)
        apart = None if y_meta is None else torch.from_numpy(right).float()
        seen = self._train(
            frame,
            X_meta,
            torch.from_numpy(given).float(),
            apart,
            trusted,
            loss=binary_cross_entropy,
            outputs=given.shape[1],
        )
        table = seen.table()
        rows = table["row"].to_numpy()
        said = np.zeros_like(given)
        said[trusted.train] = (seen.outputs[: len(trusted.train)] > 0).numpy()  # the probes come after
        for place, (name, has) in enumerate((("given_label", given), ("suggested_label", said))):
            labels = [tuple(self.classes_[row.astype(bool)].tolist()) for row in has[rows]]
            table.insert(2 + place, name, labels)
        return table

    def _drawn(self, groups: Array, needed: str) -> Trusted:
        if self.meta_from_train is None:
            raise require_trusted(needed)
        return drawn(groups, self.meta_from_train, check_random_state(self.random_state))

    def _targets_back(self, targets: Tensor) -> Array:
        labels: Array = targets.long().numpy() if self._several else self.classes_[targets.numpy()]
        return labels

    def predict(self, X: Any) -> Array:
        """Labels [N], or [N, L]: those of ``final_estimator_`` where there is one, else of the net."""
        if self.final_estimator is not None:
            return self._final_says("predict", X)
        outputs = self._outputs(X)
        if self._several:
            return np.asarray(outputs > 0, dtype=np.int64)
        labels: Array = self.classes_[outputs.argmax(axis=1)]
        return labels

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Probabilities [N, C] in the order of ``classes_``; of several labels that of having each [N, L]."""
        if self.final_estimator is not None:
            said = self._final_says("predict_proba", X)
            if isinstance(said, list):  # an array for each label
                each = zip(said, self.final_estimator_.classes_, strict=True)
                return np.column_stack([of_yes(*pair) for pair in each])
            return said
        outputs = self._outputs(X)
        return np.asarray(expit(outputs) if self._several else softmax(outputs, axis=1))


def of_yes(probabilities: Array, classes: Array) -> Array:
    """Of one label's answers [N, 1 or 2] the probability of 1 [N], where training rows may all have one."""
    at = np.flatnonzero(classes == 1)
    said: Array = probabilities[:, at[0]] if len(at) else np.zeros(len(probabilities))
    return said
