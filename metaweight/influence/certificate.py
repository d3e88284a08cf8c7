"""What a certificate says: how far scores of samples can be believed, from retrainings without some."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from metaweight.core.records import Record, read_record, require_format, write_record

FORMAT = 1
CHANCE = "no better than chance"


class Gain(Record, frozen=True):
    """How much lower the loss is without the samples that a score calls worst, than without random ones."""

    share: float
    """Of the samples, left out."""
    gain: float
    low: float
    """95 % interval of the gain of a single random set: where it covers 0, the worst are as good as that."""
    high: float


class Score(Record, frozen=True):
    """What is known of one score."""

    name: str
    lds: float | None
    """Linear datamodeling score: the rank correlation, over random subsets, of what the score predicts of
    the loss without them and what the loss is; mean over the targets.  None where all predictions, or all
    losses, are the same."""
    low: float | None
    """95 % interval."""
    high: float | None
    gains: tuple[Gain, ...]


class CertificateRecord(Record, frozen=True):
    """The file's content."""

    format: int
    scores: tuple[Score, ...]
    loss: float
    spread: float
    noise: float | None
    subsets: int
    share: float
    samples: int
    targets: int
    mode: str
    seed: int


@dataclass(frozen=True)
class Certificate:
    """How far scores of a run's samples tell what leaving samples out does to its end.

    Measured: the run is trained again without random subsets, the same for all scores, and without the
    samples that each score calls worst.
    """

    scores: tuple[Score, ...]
    loss: float
    """At the run's end, mean over the targets, as all losses here."""
    spread: float
    """Standard deviation of the loss over the subsets."""
    noise: float | None
    """The same over 3 retrainings without any change; None where these are equal to the last bit."""
    subsets: int
    share: float
    """Of the samples, that each subset leaves out."""
    samples: int
    """That some batch had."""
    targets: int
    mode: str
    seed: int

    def sentences(self) -> list[str]:
        """What it says, in plain words; one that is not sure is called no better than chance."""
        said = [line for score in self.scores for line in (self._of_subsets(score), *_of_worst(score))]
        if self.noise is not None:
            said.append(
                f"The run cannot be taken again to the last bit: without any change its loss varies by "
                f"{self.noise:.2g}, over the subsets by {self.spread:.2g}. No score can predict that part."
            )
        return said

    def _of_subsets(self, score: Score) -> str:
        what = f"what the loss is without a random {_percent(self.share)} of the samples"
        if score.lds is None or score.low is None or score.high is None:
            return (
                f"Of {score.name} nothing can be said: over {self.subsets} subsets its predictions, or the "
                "losses, are all the same."
            )
        found = f"rank correlation {_interval(score.lds, score.low, score.high)}, {self.subsets} retrainings"
        if score.low <= 0 <= score.high:
            return f"{score.name} is {CHANCE} at predicting {what}: {found}; 0 is chance."
        if score.high < 0:
            return f"{score.name} predicts {what} the wrong way round: {found}; is its sign right?"
        return f"{score.name} predicts {what}: {found}; 1 is perfect, 0 is chance."

    def __str__(self) -> str:
        """A table in plain text, a line for each score."""
        shares = [gain.share for gain in self.scores[0].gains] if self.scores else []
        table = [["score", "rank correlation", *(f"gain, worst {_percent(share)}" for share in shares)]]
        for score in self.scores:
            found = "-"
            if score.lds is not None and score.low is not None and score.high is not None:
                found = _range(score.lds, score.low, score.high)
            gains = [_range(one.gain, one.low, one.high, ".3g") for one in score.gains]
            table.append([score.name, found, *gains])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
        about = (
            f"{self.subsets} subsets of {_percent(self.share)} of {self.samples} samples, "
            f"loss {self.loss:.4g}, 95 % intervals"
        )
        return "\n".join([*lines, about])

    def save(self, path: Path | str) -> None:
        """Write a JSON file, all of it or nothing.  Raises WriteError."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        write_record(Path(path), CertificateRecord(format=FORMAT, **content))

    @staticmethod
    def load(path: Path | str) -> Certificate:
        """Read what ``save`` wrote.  Raises ValueError for another file or a newer format."""
        record = read_record(CertificateRecord, Path(path))
        require_format(Path(path), record.format, FORMAT)
        return Certificate(**{one.name: getattr(record, one.name) for one in fields(Certificate)})


def _of_worst(score: Score) -> list[str]:
    said = []
    for one in score.gains:
        share = _percent(one.share)
        way = "lower" if one.gain >= 0 else "higher"
        ends = sorted(abs(end) for end in (one.low, one.high)) if one.low * one.high > 0 else None
        if ends is None:
            said.append(
                f"Leaving out the worst {share} by {score.name} is {CHANCE}: the loss is "
                f"{abs(one.gain):.3g} {way} than without {share} at random, where random sets differ by as "
                "much."
            )
            continue
        said.append(
            f"Without the worst {share} by {score.name} the loss is {abs(one.gain):.3g} {way} than without "
            f"{share} at random (95 % interval {ends[0]:.3g} to {ends[1]:.3g})."
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} (95 % interval {low:.2f} to {high:.2f})"


def _range(value: float, low: float, high: float, form: str = ".2f") -> str:
    return f"{value:{form}} ({low:{form}} to {high:{form}})"
