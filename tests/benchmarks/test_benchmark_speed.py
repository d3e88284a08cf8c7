"""The speed benchmark: its statistics by hand and by numpy, its rounds on a false clock, one tiny run."""

from __future__ import annotations

import csv
import json
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import charts, measure, run
from benchmarks.speed.exactness import Deviation
from benchmarks.speed.measure import Timing, extra_peak, interleaved
from benchmarks.speed.start import random_pair
from benchmarks.speed.table import Cost, Facts, Row, Spread, brief, rows, to_csv, to_markdown
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight import MetaweightError

TINY = ["--model", "mlp", "--batch", "4", "--meta-batch", "3", "--threads", "1"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux only")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def timings_of(seconds: dict[str, list[float]]) -> list[Timing]:
    return [Timing(r, name, 0, s) for name, values in seconds.items() for r, s in enumerate(values)]


def test_rows_by_hand() -> None:
    timings = timings_of({"slow": [0.4, 0.9, 0.8], "plain": [0.1, 0.3, 0.2]})
    facts = {"slow": Facts(extra_bytes=5, flops=30.0), "plain": Facts(flops=10.0)}
    plain, slow = rows(timings, ["plain", "slow"], unit="plain", facts=facts)
    assert plain.cost == Cost(Spread(200, 150, 250), 1.0, Spread(1, 1, 1))
    assert slow.cost is not None
    assert slow.cost.milliseconds == Spread(800, pytest.approx(600), pytest.approx(850))
    assert slow.cost.ratio_of_medians == pytest.approx(4)  # 0.8 / 0.2
    assert slow.cost.ratio_in_round == Spread(4, pytest.approx(3.5), pytest.approx(4))  # of 4, 3, 4
    assert (slow.facts.extra_bytes, slow.flops_ratio, plain.flops_ratio) == (5, 3.0, 1.0)


def test_spread_is_that_of_numpy() -> None:
    values = torch.rand(17, generator=generator(), dtype=torch.float64).numpy()
    spread = Spread.of(values.tolist())
    assert [spread.low, spread.median, spread.high] == pytest.approx(np.percentile(values, [25, 50, 75]))


def test_tables_say_the_same() -> None:
    timings = timings_of({"plain": [0.1, 0.3, 0.2], "slow": [0.004, 0.009, 0.008]})
    facts = {
        "plain": Facts(3 * 2**20, 2e9, waits=0.25),
        "slow": Facts(None, 5e9, Deviation(None, 1e-3)),
        "none": Facts(refused="refused: no a|b"),
    }
    table = rows(timings, ["plain", "slow", "none"], unit="plain", facts=facts)
    text = to_markdown(table, "three rounds", {"slow": "is slow"})
    head, rule, plain, slow, none, _, caption, _, note = text.splitlines()
    assert {line.count("|") for line in (head, rule, plain, slow, none)} == {11}
    assert plain == "| plain | 200 [150, 250] | 1.00 | 1.00 [1.00, 1.00] | 2.00 | 1.00 | 3 | - | - | 0.25 |"
    assert (
        slow == "| slow | 8.00 [6.00, 8.50] | 0.04 | 0.04 [0.04, 0.04] | 5.00 | 2.50 | - | - | 1.0e-03 | - |"
    )
    assert none == "| none | refused: no a/b |" + " - |" * 8
    assert (caption, note) == ("three rounds", "`slow`: is slow")
    assert brief(table[1]) == ("slow", "8.00", "0.04", "2.50", "-", "1.0e-03")
    assert brief(table[2])[:2] == ("none: refused: no a|b", "-")
    first, second, third = csv.DictReader(to_csv(table).splitlines())
    assert (float(first["ms_median"]), int(first["extra_bytes"])) == (200, 3 * 2**20)
    assert (float(first["waits"]), second["waits"]) == (0.25, "")
    assert (float(second["ratio_low"]), second["extra_bytes"]) == (pytest.approx(0.035), "")
    assert (second["deviation_float64"], float(second["deviation_timed"])) == ("", 1e-3)
    assert (third["ms_median"], third["refused"]) == ("", "refused: no a|b")
    assert Row("none", None, facts["none"], 2e9) == table[2]


def test_rounds_are_interleaved_and_a_cycle_counts_as_its_mean() -> None:
    now, calls = [0.0], []
    fifth = Variant("forward", every=5, unroll=2)

    def plain_step(train: object, meta: object) -> tuple[()]:
        calls.append(("plain", train, meta))
        now[0] += 1.0
        return ()

    def fifth_step(train: object, meta: object) -> tuple[()]:
        due = sum(name == "fifth" for name, *_ in calls) % 5 == 0
        calls.append(("fifth", train, meta))
        now[0] += 4.0 if due else 1.5
        return ()

    pairs = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]
    iterates = {PLAIN: plain_step, fifth: fifth_step}
    timings = interleaved(iterates, pairs, generator(1), clock=lambda: now[0])  # type: ignore[arg-type]
    assert [(t.round, t.seconds) for t in timings if t.variant == PLAIN.name] == [(r, 1.0) for r in range(4)]
    assert [t.seconds for t in timings if t.variant == fifth.name] == [1.0] * 4  # (4 + 4 * 1.5) / 5 / K
    assert [meta for _, _, meta in calls] == [meta for _, meta in pairs for _ in range(6)]
    assert {len(train) for name, train, _ in calls if name == "fifth"} == {2}
    orders = {tuple(t.variant for t in timings if t.round == r) for r in range(4)}
    assert orders == {(PLAIN.name, fifth.name), (fifth.name, PLAIN.name)}
    assert [t.position for t in timings] == [0, 1] * 4


def test_the_pair_shares_no_sample() -> None:
    train, meta = random_pair(Setting(batch=6, meta_batch=4), generator())
    assert train.index.tolist() + meta.index.tolist() == list(range(10))
    assert not torch.equal(train.inputs[0][:4], meta.inputs[0])


@linux
def test_extra_peak_sees_memory_that_is_gone_again() -> None:
    def work() -> None:
        with mmap.mmap(-1, 64 * 2**20) as pages:  # new ones, whatever the process has freed before
            for place in range(0, len(pages), mmap.PAGESIZE):
                pages[place] = 1

    assert extra_peak(work) == pytest.approx(64 * 2**20, rel=0.05)
    assert extra_peak(lambda: None) < 2**20


@linux
@pytest.mark.slow
def test_memory_of_a_step_is_measured_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("convnet", batch=200, meta_batch=2, threads=1)
    images = 200 * 3 * 32 * 32 * 4
    monkeypatch.setattr(measure, "prepare", None)  # this process cannot do the work
    assert images < measure.memory_in_fresh_process(PLAIN, setting) < 2**30


@linux
@pytest.mark.slow
def test_errors_of_the_other_process_are_told() -> None:
    with pytest.raises(KeyError, match="unknown model 'none'"):
        measure.memory_in_fresh_process(PLAIN, Setting("none"))


@linux
def test_death_of_the_other_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_answer", die)
    with pytest.raises(MetaweightError, match=r"'plain step' died \(exit code 7\)"):
        measure.memory_in_fresh_process(PLAIN, Setting())


def die(*_: object) -> None:
    os._exit(7)


def test_tiny_run_writes_its_folder_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed"
    arguments = [*TINY, "--rounds", "2", "--warmup", "1", "--no-memory", "--out", str(out)]
    arguments += ["--groups", "engines", "unroll", "peers", "--only", "forward*", "higher*K=2", "higher-loop"]
    assert run.main(arguments) == 0
    assert str(out) in capsys.readouterr().out.replace("\n", "")
    names = {"plain step", "forward, lookahead", "forward, online", "higher, gradient, K=2", "higher-loop"}
    timings = list(csv.DictReader((out / "rounds.csv").read_text().splitlines()))
    assert {t["variant"] for t in timings} == names
    assert len(timings) == 2 * len(names)
    assert all(float(t["seconds"]) > 0 for t in timings)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["config"]["model"], manifest["config"]["meta_batch"]) == ("mlp", 3)
    assert manifest["config"]["peers"]["higher"] == "0.2.1"
    table = (out / "table.md").read_text()
    assert table.count("\n| ") == 1 + len(names)
    assert "mlp, vectors of 784, 10 classes, batch 4 + 3, float32, 1 CPU threads, 2 interleaved" in table
    by_name = {row["variant"]: row for row in csv.DictReader((out / "table.csv").read_text().splitlines())}
    assert float(by_name["plain step"]["flops_ratio"]) == 1
    assert 2 < float(by_name["forward, lookahead"]["flops_ratio"]) < 5
    assert float(by_name["higher-loop"]["deviation_float64"]) < 1e-10
    assert (out / charts.COSTS).stat().st_size > 10_000
    assert not (out / charts.MEMORY).exists()
    kept = {path: path.read_bytes() for path in out.iterdir()}
    assert run.main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == kept


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"rounds": 1}, ValueError, "--rounds is at least 2, got 1"),
        ({"meta_batch": 0}, ValueError, "--meta-batch is at least 2, got 0"),
        ({"model": "conv-net"}, KeyError, "Did you mean 'convnet'?"),
        ({"groups": ("engine",)}, KeyError, "unknown group 'engine'. Did you mean 'engines'?"),
        ({"only": ("higher, onlin",)}, KeyError, "Did you mean 'higher, online'?"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error) as told:
        run.Options(**options)  # type: ignore[arg-type]
    assert complaint in str(told.value)


def test_a_bad_option_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--model", "conv-net", "--out", str(tmp_path / "out")]) == 2
    assert "unknown model 'conv-net'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
