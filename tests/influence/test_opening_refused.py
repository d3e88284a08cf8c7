"""What is said of a run's folder that cannot be opened, or is another run when it is taken again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from opened_runs import OPTIONS, finished, same_student, trained
from tiny_images import config
from tiny_rows import rows, write

import metaweight as mw
from metaweight.influence import InfluenceWarning, MismatchError, WholeRun
from metaweight.tasks.config import TabularConfig
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished ones: nobody writes into them."""
    place = tmp_path_factory.mktemp("runs")
    return {name: finished(place / name, name) for name in ("plain", "mlp")}


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(runs[name], tmp_path / name))

    return copy


def changed_row(folder: Path, row: int, **values: Any) -> None:
    path = folder / "steps.jsonl"
    lines = path.read_text().splitlines()
    lines[row] = json.dumps({**json.loads(lines[row]), **values})
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["plain", "mlp"])
def test_the_first_other_loss_stops(name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    changed_row(folder, 4, train_loss=2.0)
    told: list[int] = []
    with pytest.raises(
        MismatchError, match=r"from step 5 of 9 on \(epoch 2, batch 2\).*was 2.0, is .*are those"
    ):
        WholeRun.opened(folder).record(lambda done, of: told.append(done))
    assert told == [3]


def test_a_changed_machine_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("plain")
    changed_row(folder, 0, train_loss=2.0)
    about = json.loads((folder / "manifest.json").read_text())
    about["versions"]["torch"] = "2.5.0"
    about["cpu"] = "an older one"
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(MismatchError, match=r"from step 1 of .*torch 2.5.0, now .*cpu was 'an older one'"):
        WholeRun.opened(folder).record()


def test_another_end_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("plain")
    path = folder / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    next(iter(content["state"]["reweighter"]["student"].values())).flatten()[0] += 1
    checkpoint.save(path, content["state"], content["shapes"])
    with pytest.raises(MismatchError, match=r"ends elsewhere: .* is not that of checkpoint.pt"):
        WholeRun.opened(folder).record()


def test_rows_that_are_missing(copied: Callable[[str], Path]) -> None:
    folder = copied("plain")
    lines = (folder / "steps.jsonl").read_text().splitlines()
    (folder / "steps.jsonl").write_text("\n".join(lines[:6]) + "\n")
    with pytest.raises(ValueError, match=r"holds 6 rows, and checkpoint\.pt is of 9 steps"):
        WholeRun.opened(folder)


class StopAfterOne(Callback):
    """Ends a run as a crash would."""

    def on_step(self, run: Any, batch: Any, report: Any) -> None:
        if run.epoch == 1:
            raise KeyboardInterrupt


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", config(**OPTIONS, teacher="uniform"), StopAfterOne())
    with pytest.raises(ValueError, match=r"is not finished: 1 of its 3 epochs.*train --resume"):
        WholeRun.opened(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relabel": True}, "relabel"),
        ({"unroll": 2}, "weighed 2 steps at once"),
        ({"remedy": "co-teaching"}, "the remedy 'co-teaching'"),
        ({"compile": True}, "compiled its student"),
    ],
)
def test_what_cannot_be_gone_back_through(
    change: dict[str, Any], words: str, copied: Callable[[str], Path]
) -> None:
    folder = copied("plain")
    about = json.loads((folder / "manifest.json").read_text())
    about["config"] |= change
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(mw.MetaweightError, match=words):
        WholeRun.opened(folder)


def test_several_processes(copied: Callable[[str], Path]) -> None:
    folder = copied("plain")
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest-2.json").write_text(json.dumps({**about, "processes": 2}))
    with pytest.raises(mw.MetaweightError, match="trained by 2 processes"):
        WholeRun.opened(folder)


@pytest.fixture
def table(tmp_path: Path) -> TabularConfig:
    """Of a run whose engine gives the student's gradient itself."""
    train, meta = write(tmp_path / "train.csv", rows(40, 0)), write(tmp_path / "meta.csv", rows(20, 1))
    return TabularConfig(
        train=str(train),
        meta=str(meta),
        label="kind",
        teacher="mw-net",
        engine="ghost",
        epochs=2,
        warmup_epochs=0,
        batch_size=20,
        meta_batch_size=20,
        model_options={"width": 8, "depth": 1},
    )


def test_other_data_are_named(table: TabularConfig, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", table)
    path = Path(str(table.train))
    path.write_text(path.read_text().replace("cat", "dog", 1))
    with pytest.raises(ValueError, match="the training rows are not what the run was started with"):
        WholeRun.opened(folder)


def test_an_engine_that_gives_the_gradient_goes_on_if_asked(table: TabularConfig, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", table)
    with pytest.raises(MismatchError, match=r"engine \(ghost\) gave the gradient.*on_difference='recorded'"):
        WholeRun.opened(folder).record()
    run = WholeRun.opened(folder, on_difference="recorded")
    with pytest.warns(InfluenceWarning, match=r"parts of the run, taken again, ended elsewhere .*e-0[678]"):
        found = run.influence(run.rows())
    assert same_student(run, folder)
    assert int(found.values.isfinite().sum()) == 40


def test_rows_that_a_run_does_not_have(copied: Callable[[str], Path]) -> None:
    run = WholeRun.opened(copied("plain"))
    assert len(run.rows("test").batch(0, 0)) > len(run.rows("valid").batch(0, 0)) == 20
    with pytest.raises(
        ValueError, match="no rows 'tset' to ask about: it has 'meta', 'train', 'valid', 'test'"
    ):
        run.rows("tset")
