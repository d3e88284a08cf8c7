"""What both estimators share: parameters, table and trusted rows, training, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data
from torch import Tensor, nn

from metaweight.core.contracts import Center
from metaweight.core.processes import Processes
from metaweight.data.rows.loader import fitting_batch
from metaweight.data.tabular import EncodedTable, TableEncoder, as_frame
from metaweight.integrations.sklearn.course import Course, Rows, in_float64, outputs_of, teach
from metaweight.integrations.sklearn.planting import planted
from metaweight.integrations.sklearn.suspects import Sighting
from metaweight.integrations.sklearn.trusted import Trusted, given
from metaweight.models.tabular import build_tabular, default_tabular_taps
from metaweight.report.statistics.belief import belief
from metaweight.student.losses import UnitLoss
from metaweight.teachers.base import trains_on_meta
from metaweight.training.sample_weights import SampleWeights

Array = np.ndarray[Any, Any]


class ReweightedEstimator(BaseEstimator):
    """Base of both estimators, for tables in which some targets are wrong and a few rows are surely right.

    ``model``: ``tabular-mlp``, ``tabular-resnet`` (``model_options``: width, depth, dropout, embedding), or a
    function of yours, ``model(inputs, outputs)`` -> a torch module [B, inputs] -> [B, outputs], which gets
    categories as columns of 0 and 1; ``taps`` are then those of its submodules that the teacher looks into.
    ``teacher``: a name of `metaweight teachers` with its ``teacher_options``; "auto" takes ``jury``,
    of numbers ``evidence``, or ``recall`` where there are classes and nothing is tapped; ``teacher_`` says
    which it was.
    ``engine``, ``schedule``, ``center``: see ``Reweighter``.  ``warmup_epochs``: the first of ``epochs``,
    plain, without the teacher.  ``batch_size="auto"``: a twentieth of the rows, 16 to 1,024.  ``lr``,
    ``weight_decay``: of the student's AdamW, whose rate falls to 0 along a cosine; ``teacher_lr``: of the
    teacher's Adam.
    ``final_estimator``: an estimator whose ``fit`` takes ``sample_weight``: a clone of it is fitted on the
    encoded rows with the learnt weights, the trusted rows with weight 1, and ``predict`` goes through it.
    ``meta_from_train``: a share of X to be taken as trusted as it is, wrong rows among it, where ``fit`` gets
    no trusted rows; None: that is an error.  ``probes``: a share of the rows of X: so many trusted rows, but
    at most half of them, are trained on, half of these with a wrong target; ``belief_`` says how well the
    weights tell them apart, and what that means for X.  ``random_state``: an int makes a fit repeatable.
    torch's global generator is left as it was.  ``verbose``: a line an epoch, and what each column was taken
    for.

    Trusted rows say what to be good at: take them as rows will come later, with the shares of the classes.
    ``train_on_meta``: whether they are trained on too; None: as the teacher says ("auto" does).

    In several processes (torchrun, in a group that is up) all call ``fit`` with the same rows and a number as
    ``random_state``: each trains on its part of every batch, and all are fitted alike.
    """

    def __init__(
        self,
        model: str | Callable[[int, int], nn.Module] = "tabular-mlp",
        *,
        model_options: Mapping[str, Any] | None = None,
        taps: Sequence[str] | None = None,
        teacher: str = "auto",
        teacher_options: Mapping[str, Any] | None = None,
        teacher_lr: float = 3e-3,
        engine: str = "auto",
        schedule: str = "lookahead",
        center: Center | None = None,
        epochs: int = 20,
        warmup_epochs: int = 2,
        batch_size: int | str = "auto",
        meta_batch_size: int = 100,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        final_estimator: Any = None,
        meta_from_train: float | None = None,
        train_on_meta: bool | None = None,
        probes: float = 0.0,
        random_state: Any = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.model_options = model_options
        self.taps = taps
        self.teacher = teacher
        self.teacher_options = teacher_options
        self.teacher_lr = teacher_lr
        self.engine = engine
        self.schedule = schedule
        self.center = center
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.batch_size = batch_size
        self.meta_batch_size = meta_batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.final_estimator = final_estimator
        self.meta_from_train = meta_from_train
        self.train_on_meta = train_on_meta
        self.probes = probes
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = True
        return tags

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """X as a frame, with the names that training had."""
        frame = as_frame(X)
        validate_data(self, X=frame, skip_check_array=True, reset=reset)
        return frame if reset else frame.set_axis(list(self.encoder_.names), axis=1)

    def _trusted(self, X: pd.DataFrame, X_meta: Any, y_meta: Any, meta: Any) -> Trusted | None:
        return given(X, hasattr(self, "feature_names_in_"), X_meta, y_meta, meta)

    def _train(
        self,
        frame: pd.DataFrame,
        X_meta: Any,
        targets: Tensor,
        meta_targets: Tensor | None,
        trusted: Trusted,
        *,
        loss: UnitLoss,
        outputs: int,
    ) -> Sighting:
        """Encode, train, and keep what is left; targets [n] of X, and of the trusted rows that X has not.

        Gives what was seen of the rows of X, for ``suspects_``.
        """
        self._check_final()
        self.encoder_ = TableEncoder().fit(frame)
        self.notes_ = (*self.encoder_.notes, trusted.note)
        if self._speaks:
            print(*self.notes_, sep="\n")
        encoded = self.encoder_.transform(frame)
        train_at, meta_at = torch.from_numpy(trusted.train), torch.from_numpy(trusted.meta)
        inputs = self._inputs(encoded)
        whole = len(trusted.meta) == 0  # then nothing is copied
        own = inputs if whole else tuple(value[train_at] for value in inputs)
        rows = Rows(own, targets[train_at], train_at)
        if meta_targets is None:
            right = Rows(tuple(value[meta_at] for value in inputs), targets[meta_at], meta_at)
        else:
            right = Rows(self._encoded(X_meta), meta_targets, len(frame) + torch.arange(len(meta_targets)))
        course = self._course(len(rows.index), outputs, loss)
        mixed = planted(rows, right, self.probes, seed=course.seed, checked=trusted.checked)
        self.notes_ += mixed.notes
        codes = mixed.train.targets
        counts = None if codes.is_floating_point() else torch.bincount(codes, minlength=outputs).tolist()
        taught = teach(course, mixed.train, mixed.trusted, class_counts=counts)
        self.module_, self.teacher_, self.engine_ = taught.module, taught.teacher, taught.engine
        self.history_ = pd.DataFrame(taught.history)
        kept, index = taught.kept, mixed.train.index
        seen = SampleWeights(
            index, kept.weights[:, index], kept.loss[:, index], probe=mixed.marks, warmup=kept.warmup
        )
        self.sample_weight_ = np.ones(len(frame))
        self.sample_weight_[trusted.train] = seen.own.mean_weight().double().numpy()
        self._fit_final(rows, right)
        self.belief_ = belief(seen)
        if self._speaks and self.belief_ is not None:
            print(*mixed.notes, *self.belief_.sentences, sep="\n")
        return Sighting(frame.index, seen, mixed.train.targets, self._net(mixed.train.inputs))

    def _course(self, rows: int, outputs: int, loss: UnitLoss) -> Course:
        own: dict[str, Any] = dict(self.model_options or {})
        encoder = self.encoder_
        if isinstance(self.model, str):
            name, taps = self.model, default_tabular_taps(self.model) if self.taps is None else self.taps
            sizes: dict[str, Any] = {"numbers": encoder.width, "cardinalities": encoder.cardinalities}

            def build() -> nn.Module:
                return build_tabular(name, outputs=outputs, **sizes, **own)
        else:
            taps = self.taps or ()

            def build() -> nn.Module:
                return self._own_module(encoder.width + sum(encoder.cardinalities), outputs, own)

        batch_size = self.batch_size
        if isinstance(batch_size, str):
            if batch_size != "auto":
                raise ValueError(f"batch_size is a number of rows or 'auto', got {batch_size!r}")
            batch_size = fitting_batch(rows)
        return Course(
            build=build,
            loss=loss,
            taps=tuple(taps),
            teacher=self.teacher,
            teacher_options=dict(self.teacher_options or {}),
            teacher_lr=self.teacher_lr,
            engine=self.engine,
            schedule=self.schedule,
            center=self.center,
            train_on_meta=trains_on_meta(self.teacher, self.train_on_meta),
            epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            batch_size=batch_size,
            meta_batch_size=self.meta_batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            seed=check_random_state(self.random_state).randint(2**31 - 1),
            device=self.device,
            verbose=self._speaks,
        )

    @property
    def _speaks(self) -> bool:
        """Whether this process prints: of several the first one does."""
        return self.verbose and Processes.at_hand().rank == 0

    def _own_module(self, inputs: int, outputs: int, options: Mapping[str, Any]) -> nn.Module:
        """What a ``model`` of the user's own builds."""
        made = None
        if callable(self.model) and not isinstance(self.model, nn.Module):
            made = self.model(inputs, outputs, **options)
        if not isinstance(made, nn.Module):
            gives = "" if made is None else f" that gives {made!r}"
            raise TypeError(
                "model is a name or a function, model(inputs, outputs) -> torch module, so that each fit "
                f"starts anew; got {type(self.model).__name__}{gives}"
            )
        return made

    def _inputs(self, encoded: EncodedTable) -> tuple[Tensor, ...]:
        """What the module is called with."""
        if isinstance(self.model, str):
            return encoded.numbers, encoded.categories
        return (self.encoder_.one_hot(encoded),)

    def _encoded(self, X: Any) -> tuple[Tensor, ...]:
        """Rows that are not those of ``fit``, as the module is called with them."""
        check_is_fitted(self)
        return self._inputs(self.encoder_.transform(self._table(X, reset=False)))

    def _check_final(self) -> None:
        final = self.final_estimator
        if final is not None and not has_fit_parameter(final, "sample_weight"):
            raise ValueError(
                f"final_estimator takes sample_weight in its fit, and {type(final).__name__} does not; of a "
                "Pipeline give the last step alone, for the rows are encoded already"
            )

    def _fit_final(self, train: Rows, trusted: Rows) -> None:
        if self.final_estimator is None:
            return
        final = clone(self.final_estimator)
        if "random_state" in final.get_params() and final.get_params()["random_state"] is None:
            final.set_params(random_state=check_random_state(self.random_state).randint(2**31 - 1))
        rows = np.concatenate([self._final_rows(train.inputs), self._final_rows(trusted.inputs)])
        targets = self._targets_back(torch.cat([train.targets, trusted.targets]))
        weights = np.concatenate([self.sample_weight_[train.index.numpy()], np.ones(len(trusted.index))])
        self.final_estimator_ = final.fit(rows, targets, sample_weight=weights)

    def _final_rows(self, inputs: tuple[Tensor, ...]) -> Array:
        dense = inputs[0] if len(inputs) == 1 else self.encoder_.one_hot(EncodedTable(*inputs))
        return dense.numpy()

    def _targets_back(self, targets: Tensor) -> Array:
        """Targets as the user gave them."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> Array:
        """What the module says of rows X [N, outputs]."""
        return self._net(self._encoded(X)).numpy()

    def _net(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What the module says of encoded rows [N, outputs], float64."""
        # a module of the user's own may know one precision only
        module = in_float64(self.module_) if isinstance(self.model, str) else self.module_
        return outputs_of(module, inputs).double()

    def _final_says(self, method: str, X: Any) -> Array:
        """What ``final_estimator_`` says of rows X."""
        rows = self._final_rows(self._encoded(X))
        said: Array = getattr(self.final_estimator_, method)(rows)
        return said
