"""Spoilt files, options, checkpoints and run folders through the commands: an answer, or a refusal in words.

No traceback, no hang, no torn output; a message names what is wrong and where.
"""

from __future__ import annotations

import importlib
import random
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from fuzz.command import Ended, run, torn
from fuzz.mutations import CHANGES, changed_words
from fuzz.yard import GRID, JOBS, Job, build

from metaweight.core.csv_text import read_csv

SEED = 18
"""Of both runs; case N is the same in each."""
WORDS_CHANGED = 0.3
"""Share of the cases in which an option is spoilt and no file."""


PRELOADED = (
    *("metaweight.cli.commands", "metaweight.remedies", "metaweight.report.page", "metaweight.report.plots"),
    *("PIL.Image", "higher", "jinja2", "matplotlib.pyplot", "pandas", "sacrebleu", "sentencepiece"),
    *("sklearn.cluster", "sklearn.datasets", "torch._dynamo"),
)
"""What takes long to import, once for all the forks; what starts threads is left to them."""
Answers = dict[str, object]


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in PRELOADED:
        importlib.import_module(name)
    place = tmp_path_factory.mktemp("yard")

    def status(words: list[str], folder: Path, stop_at: int | None = None) -> int | None:
        ended = run(words, folder, stop_at)
        if ended.status not in (0, 130):
            print(ended.said)
        return ended.status

    build(place, status)
    return place


@pytest.fixture(scope="session")
def answers(yard: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What the jobs with an answer give where nothing is spoilt, by name."""
    found = {}
    for job in JOBS:
        if job.answer:
            folder = tmp_path_factory.mktemp("answer") / "case"
            shutil.copytree(yard, folder)
            found[job.name] = _answer(job, run(job.words, folder, stdin=job.stdin), folder)
    return found


def _answer(job: Job, ended: Ended, folder: Path) -> object:
    """Lines of a file that was changed may have moved; what was found of them may not have."""
    if job.answer == "said":
        return ended.said
    return [{**row, "row": ""} for row in read_csv(folder / job.answer)]


@dataclass(frozen=True)
class Case:
    """One spoilt command."""

    number: int
    job: Job
    words: list[str]
    change: str
    file: str
    """What was spoilt; empty where it is an option."""
    was: str
    """The word that was spoilt."""


def _case(number: int, folder: Path) -> Case:
    """Spoil something in ``folder``, a copy of the yard."""
    draw = random.Random(f"{SEED} {number}")
    job = draw.choice(JOBS)
    words = list(job.words)
    if not job.files or draw.random() < WORDS_CHANGED:
        words, was = changed_words(words, draw)
        return Case(number, job, words, "options", "", was)
    file, change = draw.choice(job.files), draw.choice(list(CHANGES))
    data = (folder / file).read_bytes()
    changed = CHANGES[change](data, draw)
    (folder / file).write_bytes(changed)
    return Case(number, job, words, change, file, "")


def _faults(case: Case, ended: Ended, folder: Path, answers: Answers) -> list[str]:
    if ended.status is None:
        return ["it hangs"]
    faults = []
    if ended.status not in (0, 2):
        faults.append(f"exit status {ended.status}")
    if "Traceback" in ended.said:
        faults.append("a traceback")
    if ended.status == 2:
        # the last line that says something: above it may stand what was done before
        if "metaweight" not in ended.said and "error" not in ended.said.lower():
            faults.append("no message")
        if case.file and not any(name in ended.said for name in _names(case)):
            faults.append(f"the message does not name {case.file}")
    trusting = ended.status == 0 and case.file and case.job.answer
    if trusting and _answer(case.job, ended, folder) != answers[case.job.name]:
        faults.append("another answer than from sound files, without a word")
    return [*faults, *torn(folder / "new"), *torn_run(folder, case)]


PARTS = {"train": "training rows", "meta": "trusted rows", "valid": "validation rows", "test": "test rows"}
"""What the parts of a run's data are called."""


def _names(case: Case) -> list[str]:
    """What a message may call the place of the fault: file, folder, part of the data, option of a grid."""
    path = Path(case.file)
    options = re.findall(r"(\w+) = ", GRID) if path.name == "grid.toml" else []
    return [path.name, path.parts[0], PARTS.get(path.stem, path.name), *options]


def torn_run(folder: Path, case: Case) -> list[str]:
    """Of the folder that a resumed run or comparison writes; the file that was spoilt does not count."""
    places = {"resume": "stopped", "data of a stopped run": "stopped", "comparison goes on": "compared"}
    place = places.get(case.job.name)
    if place is None:
        return []
    return [fault for fault in torn(folder / place) if Path(case.file).name not in fault]


def _survey(yard: Path, answers: Answers, work: Path, numbers: range) -> list[str]:
    faults, counts = [], Counter()  # type: ignore[var-annotated]
    for number in numbers:
        folder = work / "case"
        shutil.copytree(yard, folder)
        case = _case(number, folder)
        ended = run(case.words, folder, stdin=case.job.stdin)
        counts[ended.status] += 1
        for fault in _faults(case, ended, folder, answers):
            last = (ended.said.strip().splitlines() or [""])[-1][:300]
            faults.append(
                f"case {number}, {case.job.name}, {case.change} {case.file or case.words}: {fault}: {last}"
            )
            print(faults[-1], flush=True)
        shutil.rmtree(folder)
        if (number + 1) % 100 == 0:
            print(number + 1, dict(counts), flush=True)
    print(f"{len(numbers)} cases, exit status: {dict(counts)}, faults: {len(faults)}", flush=True)
    return faults


def test_ten_spoilt_commands(yard: Path, answers: Answers, tmp_path: Path) -> None:
    assert _survey(yard, answers, tmp_path, range(10)) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_spoilt_commands(part: int, yard: Path, answers: Answers, tmp_path: Path) -> None:
    assert _survey(yard, answers, tmp_path, range(1000 * part, 1000 * (part + 1))) == []
