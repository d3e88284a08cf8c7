"""``metaweight train``: one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.table import Column, Table
from tyro.conf import OmitArgPrefixes

from metaweight import remedies
from metaweight.cli.places import run_folder
from metaweight.comparison.arms import arm_of
from metaweight.comparison.cells import alone, check_options, keep
from metaweight.comparison.plain import (
    BESIDE,
    is_wanted,
    plain_config,
    require_comparable,
    train_along,
    train_beside,
)
from metaweight.core.atomic import WriteError
from metaweight.core.console import Terminal
from metaweight.core.contracts import LostProcessError
from metaweight.report.statistics.belief import belief
from metaweight.report.statistics.gain import gain_of
from metaweight.report.suspects import Suspects
from metaweight.student.execution.execution import require_device
from metaweight.tasks import Outcome, Prepared, assemble, choice_lines, described, run_manifest, tasks
from metaweight.tasks.base import kept_config
from metaweight.tasks.config import RunConfig
from metaweight.tasks.identity import FREE, other_options
from metaweight.tasks.outcome import RunResult
from metaweight.tasks.rows.results import ROWS
from metaweight.tasks.run import LEFT_OUT
from metaweight.training.checkpoint import kept
from metaweight.training.history import Interrupted
from metaweight.training.launch import launched
from metaweight.training.progress import EpochProgress
from metaweight.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Train:
    """One run; a call trains it and keeps the weight of every sample."""

    task: str
    """What the student learns; each task has its own options: image, tabular, text, tokens, translation."""
    run: OmitArgPrefixes[RunConfig]
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/NAME-TIME, NAME of teacher, remedy, loss."""
    resume: str | None = None
    """Go on with this run folder, with its own options; of others only where its data lie and what it runs on
    may be given: --data-dir, --device, --threads, own files."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""

    def __call__(self) -> None:
        if self.threads is not None:
            if self.threads < 1:
                raise ValueError(f"--threads is 1 or more, got {self.threads}")
            torch.set_num_threads(self.threads)
        with launched(self.run.device) as processes:
            if processes.rank == 0:
                self._lead()
            else:
                self._follow()

    def _follow(self) -> None:
        """Train beside the process that keeps the run."""
        if self.resume is None:
            config, prepared = self._checked()
        else:
            config = self._resumed(RunFolder.open(self.resume))
            prepared = tasks[config.task].prepare(config)
        self._run(None, config, prepared)
        if is_wanted(config, None):
            plain, own = _plain(config, prepared)
            with _shown(plain) as display:
                train_along(plain, own, (display,))

    def _lead(self) -> None:
        if self.resume is None:
            config, prepared = self._checked()
            place = run_folder(self.out, arm_of(config).replace(" + ", "-"))
            folder = RunFolder.create(place, run_manifest(config, prepared))
            with _kept(folder), folder.held():
                self._train(folder, config, prepared)
            return
        folder = RunFolder.open(self.resume)
        with _kept(folder), folder.held() as left:
            config = self._resumed(folder)
            prepared = tasks[config.task].prepare(config)
            require_comparable(config, prepared)
            for line in filter(None, (left, *remedies.go_on(folder, config, prepared))):
                Terminal().print(line, soft_wrap=True)
            self._train(folder, config, prepared)

    def _train(self, folder: RunFolder, config: RunConfig, prepared: Prepared) -> None:
        console = Terminal()
        presentation = tasks[config.task].presentation
        console.print(f"data: {described(prepared)}", soft_wrap=True)
        console.print(f"run folder: {folder.path}", soft_wrap=True)
        outcome = self._run(folder, config, prepared)
        result = keep(alone(config, folder.path.name), folder.path, outcome, cost=outcome.cost)
        table = Table(Column(overflow="fold"), Column(overflow="fold"), show_header=False)
        for what, figure in presentation.of_run(result):
            table.add_row(what, figure)
        console.print(table)
        for sentence in _belief(folder, config):
            console.print(sentence, soft_wrap=True)
        console.print(f"weight of every sample: {folder.path / 'weights.csv'}", soft_wrap=True)
        kinds = (
            (ROWS, "with your own columns"),
            ("pairs.csv", "with its sentences"),
            (LEFT_OUT, "what is left out"),
        )
        for name, what in kinds:
            if (folder.path / name).is_file():
                console.print(f"{what}: {folder.path / name}", soft_wrap=True)
        if is_wanted(config, folder.path):
            _train_beside(folder, config, prepared, result)

    def _run(self, folder: RunFolder | None, config: RunConfig, prepared: Prepared) -> Outcome:
        """What all processes do alike."""
        for line in choice_lines(config, prepared):
            Terminal().print(line, soft_wrap=True)
        with _shown(config) as display:
            return remedies.run(
                config, folder, prepared=prepared, callbacks=(display,), resume=self.resume is not None
            )

    def _checked(self) -> tuple[RunConfig, Prepared]:
        """A bad option or data folder leaves no run folder behind."""
        config = self.run
        check_options(config)
        require_device(config.device)
        prepared = tasks[config.task].prepare(config)
        assemble(config, prepared)
        remedies.check(config, prepared)
        require_comparable(config, prepared)
        return config, prepared

    def _resumed(self, folder: RunFolder) -> RunConfig:
        """The options of the run in ``folder``, with other places and another device where they are given."""
        kept = config_of(folder)
        if type(kept) is not type(self.run) or self.out is not None or other_options(self.run, kept):
            others = ", ".join(f"--{name.replace('_', '-')}" for name in ("threads", *FREE, *kept.places))
            raise ValueError(
                "--resume takes the run's own options: give no others but where its data lie, what it runs "
                f"on and what is trained beside it ({others})"
            )
        check_options(self.run)
        require_device(self.run.device)
        return self.run


def config_of(folder: RunFolder) -> RunConfig:
    """The options of the run in ``folder``."""
    return kept_config(folder.manifest(), folder.path / "manifest.json")


def _shown(config: RunConfig) -> EpochProgress:
    """The line of the epoch at hand."""
    presentation = tasks[config.task].presentation
    return EpochProgress(
        Terminal(), config.epochs, describe=presentation.of_epoch, counted=presentation.counted
    )


def _train_beside(folder: RunFolder, config: RunConfig, prepared: Prepared, result: RunResult) -> None:
    """The plain run of ``config``, and what the run in ``folder``, which gave ``result``, gains over it."""
    console = Terminal()
    console.print(f"plain training on the same rows, to compare: {folder.path / BESIDE}", soft_wrap=True)
    plain, own = _plain(config, prepared)
    with _shown(plain) as display:
        trained = train_beside(plain, folder.path, own, (display,))
    for sentence in gain_of(result, trained, tasks[config.task].presentation).sentences:
        console.print(sentence, soft_wrap=True)
    console.print(f"both on one page: metaweight report {folder.path}", soft_wrap=True)


def _plain(config: RunConfig, prepared: Prepared) -> tuple[RunConfig, Prepared]:
    """The options and data of the plain run beside one of ``config``."""
    plain = plain_config(config)
    return plain, tasks[config.task].prepare(plain) if config.probes else prepared


def _belief(folder: RunFolder, config: RunConfig) -> tuple[str, ...]:
    """What the weights of a run that has ended suspect, and whether they can be believed, in sentences; a
    remedy learns none."""
    if config.remedy != "none":
        return ()
    weights = folder.read_weights()
    try:
        found = Suspects(weights)
    except ValueError as error:
        known = belief(weights)
        return () if known is None else (f"Nothing is suspected: {error}.", *known.sentences)
    if found.belief is None:
        return ()
    place = folder.path
    ways = f": metaweight report {place} shows them, metaweight suspects {place} writes them as a table"
    return (f"{found.sentence}{ways if found.is_suspect.any() else ''}.", *found.belief.sentences)


@contextmanager
def _kept(folder: RunFolder) -> Iterator[None]:
    """Say of a stop from outside what is kept and how the run goes on."""
    way = f"metaweight train --resume {folder.path}"
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        raise Interrupted(f"{str(stop) or 'stopped'}\nresume with: {way}") from None
    except (WriteError, LostProcessError) as error:
        raise type(error)(f"{error}\n{way} goes on: {kept(folder.path)}") from error
