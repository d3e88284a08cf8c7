"""The commands by name: what the help says of each, and the options that it begins with.

A command's module is imported by its function, so that the help of them all imports none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro

from metaweight.cli.ahead import Ahead

Command = Callable[[], int | None]
"""Does the work; gives the exit code, None for 0."""
TASK = "image"


def train(ahead: Ahead) -> Command:
    """Train one student with one teacher and keep the weight of every sample.

    Example: metaweight train --train data.csv --label y --meta trusted.csv --test test.csv

    Example: metaweight train --train pictures/ --meta checked/ --test test/

    Example: metaweight train --task translation --train pairs.tsv --meta trusted.tsv --valid valid.tsv

    Example: metaweight train --noise uniform --noise-rate 0.4 --teacher memory
    """
    from metaweight.cli.train import Train, config_of
    from metaweight.tasks import tasks
    from metaweight.training.run_folder import RunFolder

    if ahead.resume is not None:
        kept = config_of(RunFolder.open(ahead.resume))
        return Train(task=kept.task, run=kept)
    task = _task(ahead)
    return Train(task=task, run=tasks[task].config())


def compare(ahead: Ahead) -> Command:
    """Train every arm (a teacher, a remedy, a loss) under every kind of noise with every seed; print and keep
    the table.

    Example: metaweight compare --arms uniform mw-net memory --noises uniform@0.4 cluster@0.8

    Example: metaweight compare --grid grid.toml --seeds 0

    Example: metaweight compare --grid benchmarks/image/profiles/cifar10.toml --profile quick --epochs 3
    """
    from metaweight.cli.compare import Compare
    from metaweight.comparison.grid_file import read_plan
    from metaweight.tasks import tasks

    if ahead.grid is not None:
        plan = read_plan(Path(ahead.grid), task=ahead.task, profile=ahead.profile)
        return Compare.of(plan, ahead.grid, ahead.profile)
    task = _task(ahead)
    return Compare(task=task, run=tasks[task].config(), noises=tasks[task].noises)


def _task(ahead: Ahead) -> str:
    """The task that is asked for, or the one that the user's own data are for, which is said then."""
    if ahead.task is not None or not 1 <= len(ahead.train) <= 2:
        return ahead.task or TASK
    from metaweight.core.console import Terminal
    from metaweight.tasks.guess import guess_task

    guess = guess_task(ahead.train, ahead.label)
    Terminal().print(f"task: {guess.task} ({guess.why}); --task says another", soft_wrap=True)
    return guess.task


def report(_: Ahead) -> Command:
    """Write one HTML page of a run or a grid: answer, table, charts and the samples with the lowest weights.

    Without --out, tables, statistics and plots of a grid are written anew too.

    Example: metaweight report runs/compare-...
    """
    from metaweight.cli.report import Report

    return Report(run=tyro.MISSING)


def suspects(_: Ahead) -> Command:
    """List the training samples of a finished run, lowest mean weight first, with the label that it suggests.

    Example: metaweight suspects runs/memory-20260101-120000 --out suspects.csv
    """
    from metaweight.cli.suspects import Suspects

    return Suspects(run=tyro.MISSING)


def influence(_: Ahead) -> Command:
    """Say what each training sample of a finished run did to the trusted loss at its end.

    Gradients pass back through all of the run, which is trained once more for that; nothing of it is changed.

    Example: metaweight influence runs/uniform-20260101-120000
    """
    from metaweight.cli.influence import InfluenceOf

    return InfluenceOf(run=tyro.MISSING)


def verify(_: Ahead) -> Command:
    """Say whether scores of a finished run's samples tell what leaving them out does, by training again.

    Example: metaweight verify runs/uniform-20260101-120000 --scores influence random mine.csv

    Example: metaweight verify runs/uniform-20260101-120000 --weights-of runs/memory-20260101-130000
    """
    from metaweight.cli.verify import Verify

    return Verify(run=tyro.MISSING)


def rate(_: Ahead) -> Command:
    """Weigh rows that were never trained on, with the student and the teacher that a finished run left.

    Example: metaweight rate new.csv --rater runs/jury-20260101-120000 --out rated.csv
    """
    from metaweight.cli.rate import Rate

    return Rate(new=tyro.MISSING, rater=tyro.MISSING)


def curate(_: Ahead) -> Command:
    """Write the share of new rows that a finished run gives the highest weights, in their file's own format.

    Example: metaweight curate new.csv --rater runs/jury-20260101-120000 --keep 0.6 --out kept.csv
    """
    from metaweight.cli.curate import Curate

    return Curate(new=tyro.MISSING, rater=tyro.MISSING, keep=tyro.MISSING, out=tyro.MISSING)


def choose_trusted(_: Ahead) -> Command:
    """Draw rows of your own data for you to check, as many of each class: what --meta needs.

    Example: metaweight choose-trusted data.csv --label y
    """
    from metaweight.cli.choose import ChooseTrusted

    return ChooseTrusted(data=tyro.MISSING)


def translate(_: Ahead) -> Command:
    """Translate the lines of standard input with the student of a translation run.

    Example: metaweight translate runs/attention-... < source.txt > hypothesis.txt
    """
    from metaweight.cli.translate import Translate

    return Translate(run=tyro.MISSING)


def score(_: Ahead) -> Command:
    """Score translations against references, line by line: BLEU and chrF with their signatures.

    Example: metaweight score hypothesis.txt reference.txt
    """
    from metaweight.cli.translate import Score

    return Score(hypothesis=tyro.MISSING, reference=tyro.MISSING)


def teachers(_: Ahead) -> Command:
    """List the teachers, plug-ins included, with their options."""
    from metaweight.cli.lists import Teachers

    return Teachers()


def engines(_: Ahead) -> Command:
    """List the engines that compute the meta-gradient, with their options."""
    from metaweight.cli.lists import Engines

    return Engines()


def remedies(_: Ahead) -> Command:
    """List the remedies for bad data that need no teacher, losses among them, with their options."""
    from metaweight.cli.lists import Remedies

    return Remedies()


def doctor(_: Ahead) -> Command:
    """Say what is installed, what the machine is, which traps it has, and try every engine: a report to paste
    where you describe a problem.

    Exit code 1 where a self-test fails; warnings alone leave it 0.

    Example: metaweight doctor

    Example: metaweight doctor --json --no-self-test
    """
    from metaweight.cli.doctor import Doctor

    return Doctor()


COMMANDS = {
    command.__name__.replace("_", "-"): command
    for command in (
        train,
        compare,
        report,
        suspects,
        influence,
        verify,
        rate,
        curate,
        choose_trusted,
        translate,
        score,
        teachers,
        engines,
        remedies,
        doctor,
    )
}
KEEPING = {
    *("train", "compare", "report", "suspects", "influence", "verify", "rate", "curate", "choose-trusted")
}
"""Those whose results are in files: what they print is a view of them."""
