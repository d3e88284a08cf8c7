"""``metaweight verify``: whether scores of a finished run's samples tell what leaving them out does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from torch import Tensor
from tyro.conf import Positional

from metaweight.cli.asking import OF, counted, opened
from metaweight.cli.scores import COSTLY, NoScoreError, Of, called_of, require_known, scored, weights_of
from metaweight.comparison.plain import BESIDE
from metaweight.core.console import Terminal
from metaweight.core.contracts import MetaweightError
from metaweight.core.jobs import require_jobs
from metaweight.influence import Certificate, WholeRun
from metaweight.training.run_folder import RunFolder

DEFAULT = ("influence", "weights", "random")
VERDICT = "verify.json"


@dataclass(frozen=True, kw_only=True)
class Verify:
    """A finished run without a learnt teacher; a call trains it again without some of its samples."""

    run: Annotated[str, Positional]
    """Folder of a finished run of --teacher uniform."""
    scores: tuple[str, ...] = ()
    """What is to be verified: influence, weights (a low one says harm), knn (trusted neighbours with another
    label), cleanlab, random, or files FILE.csv of your own: a column index, and one of scores that are
    positive where a sample does harm. Default: influence, weights and random, as far as there are any."""
    weights_of: str | None = None
    """Another run of the same data, whose teacher gave the weights that are verified."""
    of: Literal["meta", "valid", "test"] = "meta"
    """Whose mean loss at the end of the run is measured: that of the trusted rows, of the validation or of
    the test set."""
    subsets: int = 60
    """Random sets of samples, one of which each retraining leaves out."""
    share: float = 0.05
    """Of the samples, that each of them has."""
    jobs: int = 1
    """Retrainings at a time."""
    seed: int = 0
    """Of the random sets, and of the random scores."""
    out: str | None = None
    """Folder for verify.json, which must not be there. Default: the run's."""
    recorded: bool = False
    """Go on where steps taken again are not the run's to the last bit, and say how much that is."""

    def __call__(self) -> None:
        console, folder = Terminal(), RunFolder.open(self.run)
        place = folder.path if self.out is None else Path(self.out)
        if (place / VERDICT).exists():
            raise FileExistsError(f"{place / VERDICT} exists: choose another folder with --out")
        names = self._names()
        require_jobs(self.jobs)
        samples = folder.read_weights()
        weighed = samples if self.weights_of is None else weights_of(Path(self.weights_of), folder)
        with folder.held() as left:
            if left is not None:
                console.print(left, soft_wrap=True)
            started = time.monotonic()
            run = opened(folder.path, checkpoints="sqrt", recorded=self.recorded)
            _refuse_taught(run, folder.path)
            of = Of(console, run, run.rows(self.of), samples.own, weighed.own, self.seed)
            certificate = self._certified(of, _made(names, of))
            seconds = time.monotonic() - started
        place.mkdir(parents=True, exist_ok=True)
        certificate.save(place / VERDICT)
        console.print(str(certificate), soft_wrap=True)
        for sentence in certificate.sentences():
            console.print(sentence, soft_wrap=True)
        console.print(f"took {seconds:,.0f} s; for programs and the page: {place / VERDICT}", soft_wrap=True)

    def _names(self) -> tuple[str, ...]:
        names = self.scores or DEFAULT
        if self.weights_of is not None and "weights" not in names:
            names = ("weights", *names)
        require_known(names)
        return names

    def _certified(self, of: Of, made: dict[str, Tensor]) -> Certificate:
        of.console.print(
            f"verified: whether {', '.join(made)} tell what the mean loss of the {OF[self.of]} is without "
            f"some samples; the run, of {len(of.run.steps):,} steps, is trained again for each of "
            f"{self.subsets:,} random sets and for the worst samples of each score",
            soft_wrap=True,
        )
        with counted(of.console, "trained again without some samples") as tell:
            return of.run.certify(
                made,
                of.asked,
                subsets=self.subsets,
                share=self.share,
                jobs=self.jobs,
                seed=self.seed,
                tell=tell,
            )


def _refuse_taught(run: WholeRun, path: Path) -> None:
    """Raise MetaweightError where a teacher gave each visit of a sample a weight of its own."""
    if run.steps.visits is None:
        return
    plain = path / BESIDE
    how = "train the same data with --teacher uniform, and then: metaweight verify PLAIN_RUN"
    if (plain / "manifest.json").is_file():
        how = f"plain training lies beside it: metaweight verify {plain}"
    raise MetaweightError(
        f"{path} had a teacher, whose weights change from visit to visit, so that leaving a sample out would "
        f"change what it gives all others. Verify its weights on plain training: {how} --weights-of {path}"
    )


def _made(names: tuple[str, ...], of: Of) -> dict[str, Tensor]:
    """The scores by what they are called, in the order of ``names``; of those that are not there, why.

    Raises ValueError where none is.
    """
    found: dict[str, Tensor] = {}
    for name in sorted(names, key=COSTLY.__contains__):
        try:
            found[name] = scored(name, of)
        except NoScoreError as error:
            of.console.print(f"left out: {name}: {error}", soft_wrap=True)
    if not found:
        raise ValueError("there is no score to verify: see above why, and name others with --scores")
    return {called_of(name): found[name] for name in names if name in found}
