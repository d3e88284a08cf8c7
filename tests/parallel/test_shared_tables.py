"""What teachers remember of every sample: each process keeps a block of the rows, and nobody sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import shared_tables as tables
import torch
from parted_runs import Case, trained
from several_processes import Ranks
from slowly import slowly
from torch import Tensor

import metaweight as mw


def require_close(here: dict[str, Tensor], there: dict[str, Tensor], within: float) -> None:
    for name, value in there.items():
        torch.testing.assert_close(here[name], value, rtol=within, atol=within, equal_nan=True)


@pytest.mark.parametrize(
    ("teacher", "schedule", "size"),
    [
        ("recall", "lookahead", 3),
        *slowly(("jury", "lookahead", 3), ("recall", "online", 2), ("recall", "online", 4)),
    ],
)
def test_rows_that_are_shared_out_are_those_of_whole_tables_to_the_bit(
    ranks: Ranks, teacher: str, schedule: str, size: int
) -> None:
    case = Case(teacher=teacher, schedule=schedule, teacher_options={"decay": 0.5}, steps=10)
    found = [one for pair in ranks.run(size, tables.both, case) for one in pair]
    for other in found[1:]:
        assert all(torch.equal(value, other[name]) for name, value in found[0].items())
    require_close(found[0], trained(0, 1, case), 1e-12)


def test_each_process_holds_its_share_of_what_is_large(ranks: Ranks) -> None:
    samples = 2_000_000  # 12 bytes each
    assert tables.held(0, 1, samples) == 12 * samples
    assert sum(ranks.run(3, tables.held, samples)) == 12 * samples
    for size in (2, 4):
        assert ranks.run(size, tables.held, samples) == [12 * samples // size] * size
    assert ranks.run(2, tables.held, 500_000) == [12 * 500_000] * 2  # small, and whole


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("samples", [9, 10, 61])
def test_rows_of_any_type_and_shape_come_back(ranks: Ranks, samples: int, size: int) -> None:
    alone = tables.tables(0, 1, samples)
    for found in ranks.run(size, tables.shared, tables.tables, samples):
        for name, value in alone.items():
            assert found[name].dtype == value.dtype
            same = found[name].contiguous().view(torch.uint8), value.contiguous().view(torch.uint8)
            assert torch.equal(*same), name


def test_samples_that_there_are_none_of_are_named_in_all(ranks: Ranks) -> None:
    for said in ranks.run(2, tables.shared, tables.unknown):
        assert [text.split(" lies")[0] for text in said[:4]] == [
            *["sample 7"] * 2,
            *["sample -1"] * 2,
        ]
        assert "remembers a part of the 7 samples" in said[4]


def test_rows_of_one_process_are_never_taken_for_those_of_another(ranks: Ranks, tmp_path: Path) -> None:
    path = str(tmp_path / "teacher.pt")
    first, second = ranks.run(2, tables.shared, tables.written_by_one, path)
    assert first is None
    assert "that process 0 of 2 remembers, and this is process 1 of 2" in second
    alone = mw.build_teacher("recall", mw.StateSpec({}, 3, samples=9))
    assert "this is process 0 of 1" in str(tables.refused(alone, path))


@pytest.mark.parametrize("plain", [True, False])
def test_a_teacher_of_the_users_own(ranks: Ranks, plain: bool) -> None:
    weights, sums = tables.own(0, 1, True)
    for found in ranks.run(3, tables.shared, tables.own, plain):
        torch.testing.assert_close(found, [weights, sums], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("changes", [((3, 2),), *slowly((((3, 3), (1, 2), (1, 3), (3, 1)),))], ids=str)
def test_a_run_goes_on_with_another_number_of_processes(
    ranks: Ranks, tmp_path: Path, changes: tuple[tuple[int, int], ...]
) -> None:
    """Pairs of how many begin and how many go on."""

    def run(size: int, folder: str, stop: int | None) -> list[dict[str, Tensor]]:
        if size == 1:
            return [tables.run(0, 1, folder, stop)]
        return ranks.run(size, tables.shared, tables.run, folder, stop)

    (whole,) = run(1, str(tmp_path / "whole"), None)
    for size in {begin for begin, _ in changes}:
        run(size, str(tmp_path / str(size)), 7)
    for begin, end in changes:
        copy = str(tmp_path / f"{begin} {end}")
        shutil.copytree(tmp_path / str(begin), copy)
        for found in run(end, copy, None):
            assert found.keys() <= whole.keys()
            require_close(whole, found, 1e-12)


@pytest.mark.slow
def test_checkpoints_that_all_processes_write(ranks: Ranks, tmp_path: Path) -> None:
    whole = tables.spread(0, 1, str(tmp_path / "whole"), range(12))
    ranks.run(3, tables.shared, tables.spread, str(tmp_path / "three"), range(6))
    shutil.copytree(tmp_path / "three", tmp_path / "two")
    for found in ranks.run(2, tables.shared, tables.spread, str(tmp_path / "two"), range(6, 12)):
        require_close(found, whole, 1e-12)
    require_close(tables.spread(0, 1, str(tmp_path / "three"), range(6, 12)), whole, 1e-12)


@pytest.mark.parametrize("size", [4, *slowly(2)])
@pytest.mark.parametrize("teacher", ["memory", *slowly("knn", "evidence")])
def test_trusted_samples_are_remembered_alike_however_uneven_their_parts(
    ranks: Ranks, teacher: str, size: int
) -> None:
    """Three in a batch: one process has two of them, or none."""
    case = Case(teacher=teacher, steps=12, teacher_options={"capacity": 20})
    alone = trained(0, 1, case)
    first, *others = ranks.run(size, trained, case)
    kept = [name for name in alone if name.startswith("teacher.trusted.")]
    assert len(kept) == 4
    for name in kept:
        assert all(torch.equal(first[name], other[name]) for other in others)
    for name in ("index", "count", "targets"):
        assert torch.equal(first[f"teacher.trusted.{name}"], alone[f"teacher.trusted.{name}"])
