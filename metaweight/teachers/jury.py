"""Starts from all evidence, each kind believed as far as it goes on trusted samples; learns the rest."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState, Suggestion
from metaweight.teachers.base import Normalize, Teacher, checked_normalize, register_teacher, weights_from
from metaweight.teachers.calibration import Calibration
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import READ, class_labels, in_columns, residual_size
from metaweight.teachers.sample_signals import SampleSignals
from metaweight.teachers.surface import Surface
from metaweight.teachers.trusted_means import TrustedMeans
from metaweight.teachers.witnesses import FAR, Witnesses

SIGNAL, SHARED_SIGNAL = 2.0, 1.0
"""First gain of signals, and where trusted samples are trained on too: what the student learnt of these by
heart has less to say.  Of numbers, whose slopes grow with the residual, they lost to none."""
TRIED = 3
"""Targets of other trusted samples that each of them is tried with."""
SURE = 8.0
"""Log odds beyond which nothing gets surer."""
RATE = 0.05
"""Of a batch in the share of right samples."""
SHARES = (0.3, 0.95)
"""Between these lies the share of training samples that is taken for right: surer, and weights could no
longer learn."""


@register_teacher("jury")
class Jury(Teacher):
    """An MLP that starts from what witnesses say of a sample's target, and from its hypergradients.

    Witnesses are the student's outputs and the trusted samples that are like the sample (``Witnesses``), as
    they are now: what they said when the student knew less held it back.  Trusted samples under their own
    targets, and under those of others, tell how far each can be believed: the log odds that a target is right
    (``Calibration``); of sentences, which cannot be tried so, the witnesses' plain sum.  Of these trials half
    are right; the share of training samples that is right is read between the trials (``Calibration.share``),
    batch by batch, and moves all odds: where hardly a sample looks wrong, weights are nearly alike.  To the
    odds, times a gain that starts at 1, comes the sample's last signal (``SampleSignals``), times a gain that
    starts at ``signal`` (None: 2, where trusted samples are trained on too 1, of numbers 0), and an MLP on
    all of it and on the surface, which starts at 0; with a ``width`` of 0 there is none.  Where trusted
    samples are trained on, signals count as far as the witnesses are in two minds, 4 p (1 - p); elsewhere
    in full, for there nothing but they asks for rare classes, whose witnesses are soon sure.  Gains and MLP
    learn from the meta-gradient.  Weights have the mean 1 in each batch unless ``normalize`` says "none":
    what is left of a batch is stepped on as a whole one.
    Without taps trusted samples are no witness; without ``StateSpec.samples``, and of tokens, which share
    their sentence's place, there are no signals.  ``decay``: above 0 a sample's signals, and what the others
    say of a trusted one, are means over its visits.
    Raises ValueError for targets of no known kind, a capacity below 1, a negative width, and a decay outside
    [0, 1).
    """

    sees = "states"
    right: Tensor
    """Share of training samples that is taken for right."""

    def __init__(
        self,
        spec: StateSpec,
        *,
        signal: float | None = None,
        decay: float = 0.0,
        capacity: int = 512,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "batch",
    ) -> None:
        super().__init__()
        self.target, self.joined = spec.target, spec.meta_in_train
        self.surface = Surface(spec, "teacher 'jury'", label_width=label_width)
        self.witnesses = Witnesses(spec, "jury", capacity=capacity)
        single = spec.labels and not (spec.sentences or spec.tokens)
        told = "words" if spec.labels else READ[spec.target]
        self.silence = "" if single else f"of {told} it suggests none, only of one class a sample"
        columns = self.witnesses.number
        self.calibration = None if spec.sentences else Calibration(columns)
        self.of_trusted: TrustedMeans | None = None
        if not (spec.sentences or spec.tokens):
            self.of_trusted = TrustedMeans(columns, capacity=capacity, decay=decay)
        self.register_buffer("right", torch.full((), 0.5))
        self.gain = nn.Parameter(torch.ones(()))
        self.signals: SampleSignals | None = None
        features = self.surface.width + columns + 1
        if spec.samples is not None and not spec.tokens:
            self.signals = SampleSignals(spec.samples, decay=decay, processes=spec.processes)
            own = SHARED_SIGNAL if self.joined else SIGNAL
            first = (0.0 if self.target == "number" else own) if signal is None else signal
            self.signal_gain = nn.Parameter(torch.full((), float(first)))
            features += 2
        self.normalize = checked_normalize(normalize)
        self.head = None if width == 0 else WeightHead(features, width, normalize=normalize)
        if self.head is None:
            self.surface.requires_grad_(False)  # nobody reads its label's embedding

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        said = self._said(state)
        odds = self.log_odds(said)
        start, features = self.gain * odds, [said / FAR, odds[:, None] / SURE]
        if self.signals is not None:
            signal, known = self.signals.of(state.index)
            p = odds.sigmoid()
            start = start + self.signal_gain * (4 * p * (1 - p) if self.joined else 1) * signal
            features.append(torch.stack([signal, known], dim=1))
        if self.head is None:
            return weights_from(start, self.normalize).to(state.loss.dtype)
        weights: Tensor = self.head(torch.cat([self.surface(state), *features], dim=1), start=start)
        return weights.to(state.loss.dtype)

    def log_odds(self, said: Tensor) -> Tensor:
        """That training samples are right, from what witnesses say [U, number] of them: [U] in +-SURE.

        0 before a trusted sample was seen.
        """
        return self._within(self._evidence(said) + self.right.logit())

    def _evidence(self, said: Tensor) -> Tensor:
        """The same where as many targets are right as wrong: [U]."""
        return said.sum(dim=1) if self.calibration is None else self.calibration.log_odds(said)

    def _within(self, odds: Tensor) -> Tensor:
        seen = self.surface.best_meta_loss.isfinite()
        return odds.clamp(-SURE, SURE).where(seen, torch.zeros_like(odds))

    def suggest(self, state: StudentState) -> Suggestion:
        """By the witnesses alone, as they are calibrated: no parameter has a say.

        P(c is right) of every class c comes from what witnesses say of c now, of the given one as in
        ``log_odds``, of others without the share of right samples, which is one of given classes.  ``share``
        of the likeliest other class c is P(c is right) P(the given one is not), 0 before a trusted sample was
        seen, and of trusted samples that are trained on.
        """
        if self.silence or self.calibration is None:
            return super().suggest(state)
        said = self.witnesses.of_classes(self.witnesses.heard(state)).to(self.gain.dtype)
        within = said.clamp(-FAR, FAR)
        evidence = self._evidence(within.flatten(0, 1)).view(said.shape[:2])
        given = class_labels(state)[:, None]
        # without bounds: where one class is certain all others lie at theirs
        odds = self.calibration.log_odds(said.flatten(0, 1)).view(said.shape[:2])
        labels = odds.scatter(1, given, -torch.inf).argmax(dim=1)
        wrong = (-self._within(evidence.gather(1, given) + self.right.logit())).sigmoid()
        other = self._within(evidence.gather(1, labels[:, None])).sigmoid()
        seen = self.surface.best_meta_loss.isfinite() & ~self.witnesses.of_themselves(state.index)
        return Suggestion(labels, seen * (wrong * other).squeeze(1))

    def slope_scale(self, state: StudentState) -> Tensor | None:
        """Of numbers their residuals' size."""
        return residual_size(state) if self.target == "number" else None

    def meta_weights(self, index: Tensor) -> Tensor | None:
        """The probability that trusted samples are right themselves, by what the others say of them.

        Of classes it is divided by its mean over the batch's samples of the class: a rare class whose every
        sample is doubted counts as much as any.
        """
        if self.calibration is None or self.of_trusted is None:
            return None
        said, visits = self.of_trusted.of(index)
        right = self.calibration.right(said)
        right = right.where(visits > 0, torch.ones_like(right))
        return right / self._of_class(index, right) if self.target == "class" else right

    def _of_class(self, index: Tensor, values: Tensor) -> Tensor:
        """The mean of ``values`` [U] over trusted samples of the same class: [U]; of unknown ones 1."""
        trusted = self.witnesses.trusted
        _, targets = trusted.held()
        same = trusted.same(index)
        known, labels = same.any(dim=1), same.to(values) @ targets.to(values)
        alike = ((labels[:, None] == labels) & known).to(values)
        mean = alike @ values / alike.sum(dim=1).clamp_min(1)
        return mean.where(known, torch.ones_like(mean))

    def take_hypergradient(self, index: Tensor, hypergradient: Tensor) -> None:
        """Remember what the batch's hypergradient says of its samples."""
        if self.signals is not None:
            self.signals.put(index, hypergradient)

    def track(self, state: StudentState) -> None:
        """See ``Surface.track``; also reads the share of right samples off the batch."""
        self.surface.track(state)
        if self.calibration is not None:
            said = self._said(state)
            unknown = (~self.witnesses.of_themselves(state.index)).to(said)
            share = self.calibration.share(self.calibration.log_odds(said), unknown)
            share = share.where(unknown.any(), self.right.to(share)).to(self.right)
            self.right = self.right.lerp(share, RATE).clamp(*SHARES)

    def observe(self, meta_state: StudentState) -> None:
        """See ``Surface.observe``; also remembers the trusted samples, and what witnesses say of them."""
        self.surface.observe(meta_state)
        self.witnesses.observe(meta_state)
        if self.calibration is not None:
            self._calibrate(self.calibration, meta_state)

    def _said(self, state: StudentState) -> Tensor:
        said: Tensor = self.witnesses(state)
        return said.to(self.gain.dtype)

    def _calibrate(self, calibration: Calibration, meta_state: StudentState) -> None:
        """Try each trusted sample with targets of others of its batch; equal ones do not count."""
        targets, heard = meta_state.targets, self.witnesses.heard(meta_state, others=True)
        tried = [targets.roll(shift, dims=0) for shift in range(TRIED + 1)]
        own, *others = (
            self.witnesses.about(replace(meta_state, targets=one), heard).to(self.gain.dtype) for one in tried
        )
        differs = [in_columns(one != targets, own.dtype).amax(dim=1) for one in tried[1:]]
        fair, units = self.witnesses.tried(meta_state)
        if self.of_trusted is not None:
            self.of_trusted.put(meta_state.index, own)
        calibration.put(own, torch.cat(others), torch.cat([fair.to(own), *differs]), units=units)
