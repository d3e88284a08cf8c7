"""ReweightedRegressor: scikit-learn's regressor interface over a Reweighter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from torch import Tensor

from metaweight.integrations.sklearn.base import Array, ReweightedEstimator
from metaweight.integrations.sklearn.labels import one_column
from metaweight.integrations.sklearn.trusted import drawn, require_trusted
from metaweight.student.losses import squared_error


class ReweightedRegressor(RegressorMixin, ReweightedEstimator):
    __doc__ = f"""A regressor of tables that learns which training rows to believe from a few trusted ones.

    Example::

        from metaweight import ReweightedRegressor
        model = ReweightedRegressor(random_state=0).fit(X, y, X_meta=X_checked, y_meta=y_checked)
        model.suspects_.head(20), model.score(X_test, y_test)

    {(ReweightedEstimator.__doc__ or "").partition(chr(10) * 2)[2].lstrip()}
    The loss is the squared error of targets standardised on the rows of X.  Teachers that need classes refuse
    numbers.  After ``fit``: as ``ReweightedClassifier``, but for ``classes_``; ``suspects_`` has
    numbers as given_label and suggested_label (what the net says), and no share.
    """

    def fit(self, X: Any, y: Any, X_meta: Any = None, y_meta: Any = None, meta: Any = None) -> Any:
        """Train on X [n, d] with numbers y [n]; trusted rows are X_meta [m, d] with y_meta [m], or rows of X.

        ``meta``: a boolean mask [n] or positions of trusted rows within X.  Raises ValueError or TypeError,
        in words, for tables and targets that do not do.
        """
        frame = self._table(X, reset=True)
        given = _numbers(one_column(y, "y", len(frame)), "y")
        trusted = self._trusted(frame, X_meta, y_meta, meta)
        if trusted is None:
            if self.meta_from_train is None:
                raise require_trusted("50 or more do.")
            one_group = np.zeros(len(given), dtype=np.int64)
            trusted = drawn(one_group, self.meta_from_train, check_random_state(self.random_state))
        self._mean, self._spread = float(given.mean()), float(given.std()) or 1.0
        right = None if y_meta is None else self._scaled(_numbers(one_column(y_meta, "y_meta"), "y_meta"))
        targets = self._scaled(given)
        seen = self._train(frame, X_meta, targets, right, trusted, loss=squared_error, outputs=1)
        numbers = self._targets_back(seen.targets)
        numbers[: len(trusted.train)] = given[trusted.train]
        said = seen.outputs[:, 0] * self._spread + self._mean
        self.suspects_ = seen.table(given=torch.from_numpy(numbers), said=said)
        return self

    def _scaled(self, values: Array) -> Tensor:
        return torch.from_numpy((values - self._mean) / self._spread).to(torch.float32)

    def _targets_back(self, targets: Tensor) -> Array:
        return targets.double().numpy() * self._spread + self._mean

    def _says(self, X: Any) -> Array:
        return self._outputs(X)[:, 0] * self._spread + self._mean

    def predict(self, X: Any) -> Array:
        """Numbers [N]: those of ``final_estimator_`` where there is one, else of the net."""
        return self._says(X) if self.final_estimator is None else self._final_says("predict", X)


def _numbers(values: Array, name: str) -> Array:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"a regressor's {name} holds numbers, got {values.dtype}: {values[:3].tolist()}"
        ) from None
