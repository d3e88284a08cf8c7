"""What evidence is worth: how far apart it puts trusted units under their own target and under another's."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PRIOR = 20.0
"""Trusted units that weigh as much as what is taken for granted without any."""
SLOPE = 0.5
"""Log odds to a nat of evidence, taken for granted."""
RIGHT = 0.9
"""Share of trusted units that have their own target, taken for granted."""
APART = 0.02
"""Added to how far apart trials are, so that evidence that tells none apart leaves the share at a half."""


class Calibration(nn.Module):
    """Log odds that a unit has its own target, by ``columns`` kinds of evidence; running moments as buffers.

    Trusted units give both answers: evidence under their own target, and under that of another.  Two normal
    distributions with one covariance make the log odds a straight line (Fisher's discriminant): its slope is
    0 for evidence that says nothing, so no kind of it is believed further than it goes here, and never below
    0.  Few trusted units are chance: slope and threshold are those of ``PRIOR`` more units, for which a nat
    is worth ``SLOPE`` and 0 proves nothing.  Trusted units may be wrong too: each counts by the odds that it
    is right, so far.  Batches count less with age, by ``decay``; ``least``, in squared nats, is added to each
    variance.  What the odds come to on such trials says how many of other units are right (``share``).
    """

    total: Tensor
    """Batches, discounted."""
    means: Tensor
    """[2, columns], sums of the batches' means: own targets first, then others'."""
    scatter: Tensor
    """[columns, columns], sum of the batches' covariances around the running means."""
    proved: Tensor
    """[2], sums of the batches' mean probabilities by the odds of then: own targets first, then others'."""
    units: Tensor
    """Trusted units that were there to try, at the last time."""

    def __init__(self, columns: int, *, decay: float = 0.95, least: float = 0.1) -> None:
        super().__init__()
        self.decay, self.least = decay, least
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("means", torch.zeros(2, columns))
        self.register_buffer("scatter", torch.zeros(columns, columns))
        self.register_buffer("proved", torch.zeros(2))
        self.register_buffer("units", torch.zeros(()))

    def put(self, own: Tensor, others: Tensor, counts: Tensor, *, units: int | Tensor) -> None:
        """Take evidence of trusted units under their own targets [n, columns], and others' [m, columns].

        ``counts`` [n + m]: 1 where it counts, else 0; nothing is taken where none of either does.  ``units``:
        how many different trusted units such evidence comes from.
        """
        sizes = [len(own), len(others)]
        counted, tried_with = counts.split(sizes)
        weights = (counted * self.right(own), tried_with)
        sums = [weight.sum() for weight in weights]
        taken = ((sums[0] > 0) & (sums[1] > 0)).to(own)
        shares = [
            weight[:, None] / total.where(total > 0, 1) for weight, total in zip(weights, sums, strict=True)
        ]
        kept = 1 - taken * (1 - self.decay)
        means = torch.stack(
            [(part * share).sum(dim=0) for part, share in zip((own, others), shares, strict=True)]
        )
        self.total = self.total * kept + taken
        self.means = self.means * kept + taken * means
        spread = torch.zeros_like(self.scatter)
        for part, share, centre in zip(
            (own, others), shares, self.means / self.total.clamp_min(1), strict=True
        ):
            spread = spread + (part - centre).T @ ((part - centre) * share) / 2
        self.scatter = self.scatter * kept + taken * spread
        self.units = torch.as_tensor(units).to(self.units) * taken + self.units * (1 - taken)
        # all trusted units alike: with the doubtful ones left out right training units would look too few
        tried = self.log_odds(torch.cat([own, others])).sigmoid() * counts
        proved = [
            part.sum() / count.sum().clamp_min(1)
            for part, count in zip(tried.split(sizes), counts.split(sizes), strict=True)
        ]
        self.proved = self.proved * kept + taken * torch.stack(proved)

    def right(self, evidence: Tensor) -> Tensor:
        """The probability that trusted units with this evidence [U, columns] are right: [U]."""
        return torch.sigmoid(self.log_odds(evidence) + math.log(RIGHT / (1 - RIGHT)))

    def log_odds(self, evidence: Tensor) -> Tensor:
        """[U, columns] -> [U]."""
        own, others = self.means / self.total.clamp_min(1)
        covariance = self.scatter / self.total.clamp_min(1) + torch.diag(torch.full_like(own, self.least))
        # solve itself would wait for the device, to see whether it could
        slope = torch.linalg.solve_ex(covariance, (own - others)[:, None]).result.squeeze(1).clamp_min(0)
        known = self.units / (self.units + PRIOR)
        middle = known * (own + others) / 2
        odds: Tensor = (evidence - middle) @ (known * slope + (1 - known) * SLOPE)
        return odds

    def share(self, odds: Tensor, counts: Tensor) -> Tensor:
        """Of units that have their own target, from log odds [U] and which of them count [U]: in [0, 1].

        The mean probability of right ones is that of trials under own targets, of wrong ones that under
        others', whether the odds are true or not; between these two lies the units', the nearer to the first
        the more of them are right.  A half where none counts.
        """
        own, others = self.proved / self.total.clamp_min(1)
        mean = (odds.sigmoid() * counts).sum() / counts.sum().clamp_min(1)
        share = (mean - others + APART / 2) / ((own - others).clamp_min(0) + APART)
        known = (counts.sum() > 0) & (self.total > 0)
        bounded: Tensor = share.clamp(0, 1).where(known, torch.full_like(share, 0.5))
        return bounded
