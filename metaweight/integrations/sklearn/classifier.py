"""ReweightedClassifier: scikit-learn's classifier interface over a Reweighter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from metaweight.integrations.sklearn.base import Array, ReweightedEstimator
from metaweight.integrations.sklearn.labels import OF_EACH, classes_of, codes_of, one_column, require_each
from metaweight.integrations.sklearn.trusted import drawn, require_trusted
from metaweight.student.losses import cross_entropy


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
    After ``fit``: ``classes_``; ``sample_weight_`` [n], each row's mean weight after the warm-up, 1 for
    trusted rows of X; ``suspects_``, a DataFrame of the rows that were weighed, the least trusted first (row,
    index, given_label, suggested_label, share, mean_weight, loss, is_suspect); ``belief_``, whether the
    weights can be believed (``sentences`` say it; None where all weigh the same); ``module_``, ``teacher_``,
    ``engine_``, ``history_``, ``encoder_``, ``notes_``, ``final_estimator_``.

    In a cross-validation give trusted rows as ``params``: ``cross_val_score(model, X, y, params={{"X_meta":
    X_checked, "y_meta": y_checked}})``; with metadata routing, ``model.set_fit_request(X_meta=True,
    y_meta=True)``.
    """

    classes_: Array

    def fit(self, X: Any, y: Any, X_meta: Any = None, y_meta: Any = None, meta: Any = None) -> Any:
        """Train on X [n, d] with labels y [n]; trusted rows are X_meta [m, d] with y_meta [m], or rows of X.

        ``meta``: a boolean mask [n] or positions of trusted rows within X.  Labels are of any type that can
        be put in order.  Raises ValueError or TypeError, in words, for tables and labels that do not do.
        """
        frame = self._table(X, reset=True)
        labels = one_column(y, "y", len(frame))
        self.classes_, codes = classes_of(labels)
        trusted = self._trusted(len(frame), X_meta, y_meta, meta)
        if trusted is None:
            if self.meta_from_train is None:
                raise require_trusted(
                    f"{OF_EACH} or more of each class do, {OF_EACH * len(self.classes_)} or more here."
                )
            trusted = drawn(codes, self.meta_from_train, check_random_state(self.random_state))
        right = (
            codes[trusted.meta] if y_meta is None else codes_of(one_column(y_meta, "y_meta"), self.classes_)
        )
        if self.meta_from_train is None or y_meta is not None or meta is not None:
            require_each(right, self.classes_)
        apart = None if y_meta is None else torch.from_numpy(right)
        size = len(self.classes_)
        targets = torch.from_numpy(codes)
        seen = self._train(frame, X_meta, targets, apart, trusted, loss=cross_entropy, outputs=size)
        self.suspects_ = seen.table(
            list(self.classes_), given=seen.targets, probabilities=seen.outputs.softmax(dim=1)
        )
        return self

    def _targets_back(self, targets: Tensor) -> Array:
        labels: Array = self.classes_[targets.numpy()]
        return labels

    def predict(self, X: Any) -> Array:
        """Labels [N]: those of ``final_estimator_`` where there is one, else of the net."""
        if self.final_estimator is not None:
            return self._final_says("predict", X)
        best = self._outputs(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Probabilities [N, C] in the order of ``classes_``."""
        if self.final_estimator is not None:
            return self._final_says("predict_proba", X)
        return np.asarray(softmax(self._outputs(X), axis=1))
