"""`metaweight train --plain-run`: plain training on the same rows beside a run, and what is said of both."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.comparison import plain
from metaweight.comparison.plain import plain_config
from metaweight.core.records import read_record
from metaweight.report.page import read_study, render
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.outcome import RESULT, RunResult
from metaweight.training.history import Interrupted
from metaweight.training.run_folder import RunFolder

WRONG = tuple(range(2, 150, 5))
SIZES = ("--meta-size", "60", "--valid-size", "20")
TRAIN = ("train", "--task", "tabular", "--noise", "uniform", *SIZES, *QUICK)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def result_of(folder: Path) -> RunResult:
    return read_record(RunResult, folder / RESULT)


def same_but_for_time(one: RunResult, other: RunResult) -> bool:
    figures = [{**result.figures, "seconds": None} for result in (one, other)]
    return figures[0] == figures[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with probes, and the plain one beside it."""
    out = tmp_path_factory.mktemp("plain") / "run"
    assert main([*TRAIN, "--teacher", "mw-net", "--probes", "0.1", "--plain-run", "--out", str(out)]) == 0
    return out


def test_the_run_beside_is_plain_training_by_itself(folder: Path, tmp_path: Path) -> None:
    """The same rows, wrong labels, first weights and order as with --teacher uniform, and no probes."""
    assert main([*TRAIN, "--teacher", "uniform", "--out", str(tmp_path / "alone")]) == 0
    assert same_but_for_time(result_of(folder / "plain"), result_of(tmp_path / "alone"))
    beside, alone = (RunFolder.open(place).read_weights() for place in (folder / "plain", tmp_path / "alone"))
    assert np.array_equal(beside.loss.numpy(), alone.loss.numpy())
    taught = RunFolder.open(folder).read_weights()
    assert taught.probe is not None
    assert np.array_equal(taught.own.index.numpy(), beside.index.numpy())
    assert taught.own.flipped is not None
    assert beside.flipped is not None
    assert np.array_equal(taught.own.flipped.numpy(), beside.flipped.numpy())


def test_only_what_is_not_plain_is_taken_away() -> None:
    config = ImageConfig(
        teacher="memory", teacher_options={"width": 8}, loss="gce", loss_options={"q": 0.5}, probes=0.1
    )
    found = plain_config(config)
    assert found == ImageConfig(teacher="uniform")
    kept = ImageConfig(teacher="uniform", remedy="glc", remedy_options={"estimate": "soft"}, lr=0.5, seed=3)
    assert plain_config(kept) == ImageConfig(teacher="uniform", lr=0.5, seed=3)


def test_what_is_gained_is_said_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(folder)]) == 0  # all has ended: it says the same again
    text = said(capsys)
    taught, plainly = (result_of(place).figures["accuracy"] for place in (folder, folder / "plain"))
    assert taught is not None
    assert plainly is not None
    sentence = (
        f"With mw-net the student reaches {taught:.1f} % test accuracy, with plain training on the same "
    )
    assert f"{sentence}rows {plainly:.1f}: " in text
    assert "--arms uniform mw-net trains three." in text
    page = render(read_study(folder))
    words = re.sub(r"<[^>]+>", "", page)
    assert f"with plain training on the same rows {plainly:.1f}: " in " ".join(words.split())
    table = re.search(r'id="beside".*?</table>', page, re.DOTALL)
    assert table is not None
    assert "plain training" in table[0]
    assert f">{taught:.1f}<" in table[0]
    assert f">{plainly:.1f}<" in table[0]
    assert f"{taught - plainly:+.1f}".replace("-", "\N{MINUS SIGN}") in table[0]
    assert "mean rank" not in table[0]
    assert "training, s" in table[0]


@pytest.mark.slow
def test_a_run_that_has_ended_is_given_a_plain_one_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*TRAIN, "--teacher", "mw-net", "--out", str(out)]) == 0
    weights = (out / "weights.csv").read_bytes()
    assert not (out / "plain").exists()
    assert 'id="beside"' not in render(read_study(out))
    assert main(["train", "--resume", str(out), "--plain-run"]) == 0
    assert (out / "weights.csv").read_bytes() == weights
    first = result_of(out / "plain")
    (out / "plain" / RESULT).unlink()  # as one that was stopped leaves it
    assert "not finished" in render(read_study(out))
    capsys.readouterr()
    assert main(["train", "--resume", str(out)]) == 0
    assert same_but_for_time(result_of(out / "plain"), first)
    assert "with plain training on the same rows" in said(capsys)
    assert main(["train", "--resume", str(out / "plain")]) == 0


def test_a_stop_before_the_plain_run_goes_on_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> RunResult:
        raise Interrupted

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(plain, "trained", stop)
        assert main([*TRAIN, "--teacher", "mw-net", "--plain-run", "--out", str(out)]) == 130
    assert f"metaweight train --resume {out}" in said(capsys)
    assert not (out / "plain").exists()
    assert main(["train", "--resume", str(out)]) == 0
    assert (out / "plain" / RESULT).is_file()


def test_without_test_rows_validation_rows_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"train": rows(150, 0, WRONG), "meta": rows(60, 1), "valid": rows(60, 2)}
    files = [
        word
        for part, table in parts.items()
        for word in (f"--{part}", write(tmp_path / f"{part}.csv", table))
    ]
    out = tmp_path / "run"
    own = [*("train", "--task", "tabular", "--label", "kind", "--plain-run", *QUICK), *map(str, files)]
    assert main([*own, "--teacher", "mw-net", "--out", str(out)]) == 0
    assert "% validation accuracy, with plain training on the same rows" in said(capsys)
    page = render(read_study(out))
    assert "% validation accuracy, with plain training" in re.sub(r"<[^>]+>", "", page)
    assert "accuracy, %, validation" in page
    without = [word for word in own if word not in ("--valid", str(tmp_path / "valid.csv"))]
    assert main([*without, "--teacher", "mw-net", "--out", str(tmp_path / "none")]) == 2
    assert "compares on test rows, or else on validation rows, and there are neither" in said(capsys)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([*TRAIN, "--teacher", "uniform", "--plain-run"], "this run is plain training itself"),
        (["compare", "--plain-run", "--epochs", "4"], "in a comparison name the arm uniform"),
    ],
)
def test_where_it_means_nothing_it_is_refused(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert message in said(capsys)
    assert not (tmp_path / "run").exists()
