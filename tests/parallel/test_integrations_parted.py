"""Integrations in several processes come to what one process comes to on the joined batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import parted_integrations as runs
import parted_script as script
import parted_trainers as runs_of
import pytest
import torch
from several_processes import Ranks
from slowly import slowly

TABLES = ("history", "history.loss")
"""What is kept in float32."""


def require_one_run(found: list[runs.Found], alone: runs.Found, exact: float = 1e-12) -> None:
    """All alike to the bit, and like one process."""
    for other in found[1:]:
        assert all(
            torch.equal(value.nan_to_num(), other[name].nan_to_num()) for name, value in found[0].items()
        )
    for name, value in alone.items():
        within = 1e-6 if name in TABLES else exact
        torch.testing.assert_close(found[0][name], value, rtol=within, atol=within, equal_nan=True)


def require_same_tables(ours: list[Any], theirs: list[Any]) -> None:
    """Weights and suspects: the same rows in the same order, and what is said of them."""
    for here, there in zip(ours, theirs, strict=True):
        assert list(here) == list(there)
        for name, column in there.items():
            if isinstance(column[0], float):
                np.testing.assert_allclose(here[name], column, rtol=1e-5)
            else:
                assert here[name] == column


LOOPS = {
    # a share of each batch that is no whole number, and a last one that is smaller
    "uneven": (3, runs.Looped(runs.Shares(47, 3, 13))),
    "padded": (2, runs.Looped(runs.Distributed(47, 2, 12), spread_trusted=True)),
    "gathering": (2, runs.Looped(runs.Shares(39, 2, 13), micro_batches=3)),
    "sharded": (2, runs.Looped(runs.Shares(47, 2, 13), sharded=True)),
    "auto": (2, runs.Looped(runs.Distributed(48, 2, 12), teacher="auto")),
}


@pytest.mark.parametrize("name", ["padded", *slowly("uneven", "gathering", "sharded", "auto")])
def test_a_loop_of_the_users(ranks: Ranks, name: str, tmp_path: Path) -> None:
    size, plan = LOOPS[name]
    alone, loop, _ = runs.looped(0, 1, plan, tmp_path / "one")
    tables = runs.told(loop)
    found = ranks.run(size, runs.loop_in_a_process, plan, tmp_path)
    # Adam divides the small gradients of a large teacher by their size, and rounding with them
    require_one_run([one for one, _ in found], alone, 1e-9 if plan.teacher == "auto" else 1e-12)
    for _, theirs in found:
        require_same_tables(theirs, tables)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "page.html", "run-0"]


@pytest.mark.slow  # a run of several goes on in test_shared_tables
def test_a_loop_goes_on_from_what_the_first_process_kept(ranks: Ranks, tmp_path: Path) -> None:
    for resumed, whole in ranks.run(2, runs.looped_on, tmp_path):
        assert whole["history"].shape == (4, 24)
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.slow  # what is refused here, test_filed_epochs refuses in one process
def test_a_file_of_epochs_is_the_first_processes(ranks: Ranks, tmp_path: Path) -> None:
    for said, alike in ranks.run(2, runs.looped_off, tmp_path):
        assert alike
        assert len(said) == 1
        assert "has not the 2 epochs that the checkpoint goes on from" in said[0]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["weights_by_epoch.bin"]


def test_what_a_loop_refuses(ranks: Ranks) -> None:
    for bare, shared in ranks.run(2, runs.loop_refusals):
        assert "give Loop, and call, DistributedDataParallel(module)" in bare
        assert "share 12 samples" in shared


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tabular-mlp", "module"])
def test_fit(ranks: Ranks, model: str, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = runs.fitted(0, 1, model, tmp_path / "alone" / "one")
    found = ranks.run(3, runs.fitted, model, tmp_path / "run")
    assert [path.name for path in tmp_path.glob("page*")] == ["page-0.html"]
    for one in found:
        assert one["folder"] == tmp_path / "run"
        for name in ("weights", "said"):
            assert np.array_equal(one[name], found[0][name])
            np.testing.assert_allclose(one[name], alone[name], rtol=1e-4, atol=1e-4)  # in float32
        assert one["figures"] == alone["figures"]
    names = [
        {path.name for path in folder.iterdir()} for folder in (tmp_path / "run", tmp_path / "alone" / "one")
    ]
    assert names[0] == names[1]


def test_what_fit_refuses(ranks: Ranks, tmp_path: Path) -> None:
    for rows, options, place in ranks.run(2, runs.fit_refusals, tmp_path):
        assert "metaweight.fit was given other training rows in one of the 2 processes" in rows
        assert "was given other options in one" in options
        assert "taken" in place


@pytest.mark.slow
def test_estimators(ranks: Ranks) -> None:
    alone = runs.estimated(0, 1)
    found = ranks.run(2, runs.estimated)
    assert [one.pop("printed") for one in found] == [alone.pop("printed"), 0]
    for one in found:
        for name, value in alone.items():
            assert np.array_equal(one[name], found[0][name])
            np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-4)  # in float32
    for refused in ranks.run(2, runs.estimator_refusal):
        assert "random_state (None is another in each)" in refused


TUNED = {
    "even": runs_of.Tuned("bert", 24, {"max_grad_norm": 0.1}),
    "shuffled": runs_of.Tuned("bert", 32, in_order=False),
    "repeated": runs_of.Tuned("bert", 22, again=2),
    "uneven": runs_of.Tuned("gpt2", 22, {"accelerator_config": {"even_batches": False}}),
    "gathering": runs_of.Tuned(
        "gpt2", 46, {"gradient_accumulation_steps": 2, "dataloader_drop_last": True, "save_strategy": "epoch"}
    ),
}


@pytest.mark.parametrize("name", ["gathering", *slowly("even", "uneven", "shuffled", "repeated")])
def test_a_trainer_of_hugging_face(ranks: Ranks, name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    plan = TUNED[name]
    alone, tables, losses = runs_of.tuned(0, 1, plan, tmp_path / "one")
    found = ranks.run(2, runs_of.tuned, plan, tmp_path / "two")
    require_one_run([one for one, *_ in found], alone)
    for _, theirs, logged in found:
        require_same_tables(theirs, tables)
        assert logged == pytest.approx(losses, rel=1e-6)
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("one", "two")]
    assert names[0] == names[1]
    if name == "gathering":
        assert (tmp_path / "two" / "checkpoint-3" / "metaweight.pt").is_file()


@pytest.mark.slow  # a loop and a command of several processes go on in default tests
def test_a_trainer_of_hugging_face_goes_on(ranks: Ranks, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for resumed, whole in ranks.run(2, runs_of.tuned_on, tmp_path):
        assert whole["history"].shape == (2, 24)
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.slow
def test_rows_by_length(ranks: Ranks, tmp_path: Path) -> None:
    """Whatever rows a sampler puts together, every row has its weight, the same in all."""
    pytest.importorskip("transformers")
    plan = runs_of.Tuned("gpt2", 24, {"train_sampling_strategy": "group_by_length"}, in_order=False)
    (found, (weights, _), _), (other, *_) = ranks.run(2, runs_of.tuned, plan, tmp_path)
    require_one_run([found, other], {})
    assert np.isfinite(weights["mean_weight"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, *slowly(1)])
def test_lightning(ranks: Ranks, parts: int, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    alone, tables = runs_of.lightened(0, 1, tmp_path / "one", parts)
    found = ranks.run(2, runs_of.lightened, tmp_path / "two", parts)
    require_one_run([one for one, _ in found], alone)
    for _, theirs in found:
        require_same_tables(theirs, tables)
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("one", "two")]
    assert names[0] == names[1]
    resumed = ranks.run(2, runs_of.lightened, tmp_path / "again", parts, tmp_path / "two" / "epoch=0.ckpt")
    for one, _ in resumed:
        assert all(torch.equal(one[name], value) for name, value in found[0][0].items())


def test_what_trainers_refuse(ranks: Ranks, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for said in ranks.run(2, runs_of.trainer_refusal, tmp_path):
        assert "leave average_tokens_across_devices=True" in said
    pytest.importorskip("lightning")
    for said in ranks.run(2, runs_of.lightning_refusal, tmp_path):
        assert "metaweight follows no SingleDeviceStrategy there: take Trainer(strategy='ddp')" in said


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "launcher"), [("loop", TORCHRUN), ("hugging-face", TORCHRUN), ("lightning", ())]
)
def test_launchers(kind: str, launcher: tuple[str, ...], tmp_path: Path) -> None:
    """As a user starts them, Lightning's processes by itself."""
    pytest.importorskip({"loop": "torch", "hugging-face": "transformers", "lightning": "lightning"}[kind])
    folder = tmp_path / "two"
    folder.mkdir()
    words = [sys.executable, *launcher, script.__file__, kind, str(folder)]
    found = {**os.environ, "PYTHONPATH": str(Path(script.__file__).parent.parent)}  # and its benchmarks
    subprocess.run(words, check=True, capture_output=True, timeout=200, env=found)
    if kind == "loop":
        alone, _, _ = runs.looped(0, 1, script.LOOP, tmp_path)
    elif kind == "hugging-face":
        alone, _, _ = runs_of.tuned(0, 1, script.TUNED, tmp_path)
    else:
        alone, _ = runs_of.lightened(0, 1, tmp_path, 1)
    require_one_run([torch.load(folder / f"found-{rank}.pt") for rank in range(2)], alone)
    assert (folder / "run-0" if kind == "loop" else folder).joinpath("weights.csv").is_file()
