"""The language model suite, on a few windows of made-up text."""

from __future__ import annotations

import csv
import json
import lzma
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from benchmarks.lm import run
from benchmarks.lm.texts import NOISE, Sizes, texts

SIZES = Sizes(train=20, trusted=4, test=6, length=8, share=0.4)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two domains that share no byte."""
    for domain, letters in (("fiction", b"abcdefg "), ("technical", b"0123456789")):
        folder = tmp_path / "data" / "lm" / f"lm_{domain}"
        folder.mkdir(parents=True)
        for part in ("train", "trusted_test"):
            (folder / f"{domain}_{part}.txt.xz").write_bytes(lzma.compress(letters * 60))
    monkeypatch.setenv("METAWEIGHT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_junk_is_what_is_said_to_be(data: Path) -> None:
    held = texts("fiction", "technical", SIZES, 0, data)
    assert held.train.shape == (20, 8)
    assert int(held.junk.sum()) == 8
    digits = ((held.train >= ord("0")) & (held.train <= ord("9"))).all(dim=1)
    assert torch.equal(digits, held.junk)
    assert not torch.equal(held.junk, texts("fiction", "technical", SIZES, 1, data).junk)
    assert torch.equal(held.test, texts("fiction", "technical", SIZES, 1, data).test)
    spoilt = texts("fiction", NOISE, SIZES, 0, data)
    clean = (spoilt.train == torch.tensor(list(b"abcdefg "))).all(dim=1)
    assert torch.equal(clean, ~spoilt.junk)


def test_all_arms_run_and_are_told(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = {"train": 20, "trusted": 4, "test": 6, "length": 8, "epochs": 1, "batch": 10, "width": 8}
    words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    chosen = ["--layers", "1", "--seeds", "0", "--junk", "technical", "--threads", "1", "--out", str(out)]
    assert run.main([*words, *chosen]) == 0
    rows = {row["arm"]: row for row in csv.DictReader((out / "runs.csv").read_text().splitlines())}
    assert list(rows) == ["plain", "random", "oracle", "surface"]
    assert rows["oracle"]["auroc"] == "1.0"
    assert rows["plain"]["auroc"] == ""
    assert len({row["bits"] for row in rows.values()}) == 4
    assert all(3 < float(row["bits"]) < 9 for row in rows.values())
    assert json.loads((out / "manifest.json").read_text())["config"]["share"] == 0.4
    assert "| `surface` |" in (out / "table.md").read_text()


def test_mistakes_are_told(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--arms", "surfaces"]) == 2
    assert "'surface'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run.main(["--junk", "fiction"])
    assert "is no junk where it" in capsys.readouterr().err
    monkeypatch.delenv("METAWEIGHT_DATA")
    assert run.main([]) == 2
    assert "METAWEIGHT_DATA" in capsys.readouterr().err
