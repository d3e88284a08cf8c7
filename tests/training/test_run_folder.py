"""The run folder: nothing lost, nothing twice, nothing overwritten."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import full_after

import metaweight
from metaweight.core.atomic import WriteError
from metaweight.core.csv_text import read_csv
from metaweight.data.origins import Origins
from metaweight.training import environment as source
from metaweight.training.run_folder import RunFolder, environment, manifest
from metaweight.training.sample_weights import SampleWeights
from metaweight.training.step_log import PENDING

NAN = float("nan")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_create_makes_parents_and_open_reads_the_manifest_back(tmp_path: Path) -> None:
    given = {"config": {"lr": 0.1, "taps": ("a", "b"), "best": NAN}, "out": tmp_path, "threads": 2}
    made = RunFolder.create(tmp_path / "deep" / "run", given)
    assert sorted(content(made.path)) == ["manifest.json"]
    read = RunFolder.open(str(made.path)).manifest()
    assert read == {
        "config": {"lr": 0.1, "taps": ["a", "b"], "best": None},
        "out": str(tmp_path),
        "threads": 2,
    }


@pytest.mark.parametrize("kind", ["run", "empty", "file"])
def test_create_never_touches_what_exists(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("kept")
    elif kind == "empty":
        path.mkdir()
    else:
        RunFolder.create(path, {"seed": 1}).append_step({"step": 1})
    before = None if kind == "file" else content(path)
    with pytest.raises(FileExistsError, match=r"exists.*choose another folder.*--resume"):
        RunFolder.create(path, {"seed": 2})
    assert path.read_text() == "kept" if before is None else content(path) == before


def test_a_manifest_that_json_cannot_hold_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        RunFolder.create(tmp_path / "run", {"weights": torch.ones(2)})
    assert not (tmp_path / "run").exists()


def test_open_refuses_other_folders_and_damaged_manifests(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="is no run folder"):
            RunFolder.open(path)
    (tmp_path / "manifest.json").write_text('{"config": ')
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        RunFolder.open(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(
        ValueError, match=r"manifest\.json is damaged: it holds no names with values, but list"
    ):
        RunFolder.open(tmp_path).manifest()


def test_two_that_make_one_folder_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = tmp_path / "run", Path.rename

    def slow(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        RunFolder.create(path, {"seed": 1})  # another process is faster
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slow)
    with pytest.raises(FileExistsError, match="exists and a run overwrites nothing"):
        RunFolder.create(path, {"seed": 2})
    assert RunFolder.open(path).manifest() == {"seed": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_a_killed_process_had_made_of_a_folder_goes(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    torn, own = tmp_path / f"run.{process.pid}.part", tmp_path / f"movie.{process.pid}.part"
    torn.mkdir()
    (torn / f"manifest.json.{process.pid}.part").write_text("{")
    own.mkdir()
    kept = tmp_path / f"run.{process.pid + 1}.part"
    kept.write_text("a file of the user's")
    folder = RunFolder.create(tmp_path / "run", {})
    assert {p.name for p in tmp_path.iterdir()} == {"run", own.name, kept.name}
    (folder.path / f"weights.npz.{process.pid}.part").write_text("half")
    with folder.held() as left:
        assert left is None
        folder.append_step({"step": 1})
    assert {p.name for p in folder.path.iterdir()} == {"manifest.json", "steps.jsonl"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/run cannot be written: (Not a directory|File exists)"):
        RunFolder.create(tmp_path / "file" / "run", {})
    with full_after(0), pytest.raises(WriteError, match=r"run cannot be written: File too"):
        RunFolder.create(tmp_path / "run", {})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_flipped_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    given = {"index": torch.arange(40), "weights": torch.rand(3, 40), "loss": torch.rand(3, 40)}
    folder.save_weights(**given, given=torch.arange(40), clean=torch.arange(40), flipped=torch.ones(40) > 0)
    file = folder.path / "weights.npz"
    whole, before = file.read_bytes(), folder.read_weights()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        if place < len(whole) - 40:
            with pytest.raises(ValueError, match=f"{file} is damaged: it is not as it was written"):
                folder.read_weights()
    for size in range(0, len(whole) - 40, 50):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{file} is damaged"):
            folder.read_weights()
    np.savez_compressed(file, **{name: v for name, v in np.load(io.BytesIO(whole)).items()})  # without a seal
    read = folder.read_weights()
    known = {name: value for name, value in vars(before).items() if isinstance(value, torch.Tensor)}
    assert all(torch.equal(getattr(read, name), value) for name, value in known.items())


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_damaged_weights_are_said_to_be(part: float, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.save_weights(index=torch.arange(9), weights=torch.rand(3, 9), loss=torch.rand(3, 9))
    file = folder.path / "weights.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"weights\.npz is damaged"):
        folder.read_weights()


def test_steps_are_buffered_flushed_and_read_back_exactly(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    rows = [{"step": i, "loss": math.pi / i, "note": "ü\n"} for i in range(1, PENDING + 2)]
    file = folder.path / "steps.jsonl"
    for row in rows[:-2]:
        folder.append_step(row)
    assert not file.exists()
    folder.append_step(rows[-2])
    assert len(file.read_bytes().splitlines()) == PENDING
    folder.append_step(rows[-1])
    assert folder.read_steps() == rows
    assert RunFolder.open(folder.path).read_steps() == rows


def test_what_json_lacks_is_null_and_the_file_is_strict_json(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.append_step({"step": np.float64(1), "a": NAN, "b": math.inf, "c": {"d": [-math.inf]}, "e": None})
    expected = {"step": 1.0, "a": None, "b": None, "c": {"d": [None]}, "e": None}
    assert folder.read_steps() == [expected]
    text = (folder.path / "steps.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == expected


def test_rows_are_written_when_the_folder_object_goes(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.append_step({"step": 1})
    del folder
    gc.collect()
    assert RunFolder.open(tmp_path / "run").read_steps() == [{"step": 1}]


def test_a_row_needs_its_step_and_plain_values(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(KeyError, match="got only loss"):
        folder.append_step({"loss": 1.0})
    with pytest.raises(TypeError, match="Tensor"):
        folder.append_step({"step": 1, "loss": torch.ones(())})
    assert folder.read_steps() == []


@pytest.mark.parametrize("torn", [b"", b'{"st', b'{"step": 4, "loss": 1.0}'])
def test_resume_drops_rows_past_the_checkpoint_and_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    for step in range(1, 4):
        folder.append_step({"step": step, "loss": 0.1 * step})
    folder.flush()
    file = folder.path / "steps.jsonl"
    file.write_bytes(file.read_bytes() + torn)
    resumed = RunFolder.open(folder.path)
    assert [row["step"] for row in resumed.read_steps()] == [1, 2, 3]
    resumed.truncate_steps(2)
    for step in (3, 4):
        resumed.append_step({"step": step, "loss": 0.1 * step})
    assert resumed.read_steps() == [{"step": step, "loss": 0.1 * step} for step in range(1, 5)]


def test_rows_in_memory_past_the_checkpoint_are_dropped_too(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.append_step({"step": 1})
    folder.append_step({"step": 2})
    folder.truncate_steps(1)
    assert folder.read_steps() == [{"step": 1}]
    folder.truncate_steps(0)
    assert folder.read_steps() == []


def test_appending_behind_a_torn_line_keeps_the_file_whole(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    (folder.path / "steps.jsonl").write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    folder.append_step({"step": 2})
    folder.flush()
    assert (folder.path / "steps.jsonl").read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    (folder.path / "steps.jsonl").write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 is damaged"):
        folder.read_steps()


def samples(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = torch.tensor([[0.5, 2.0, NAN], [1.0, NAN, NAN]])
    parts = {"index": torch.tensor([7, 3, 9]), "given": torch.tensor([1, 0, 2]), "weights": weights}
    known = {"clean": torch.tensor([1, 1, 2]), "flipped": torch.tensor([False, True, False])}
    return {**parts, "loss": 3 * weights, **known, **changed}


def test_weights_come_back_exactly_and_as_csv(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.save_weights(**samples())
    read = RunFolder.open(folder.path).read_weights()
    for name, value in samples().items():
        torch.testing.assert_close(getattr(read, name), value, rtol=0, atol=0, equal_nan=True)
    rows = list(csv.reader((folder.path / "weights.csv").read_text().splitlines()))
    assert rows == [
        ["file", "row", "name", "index", "given_label", "mean_weight", "flipped"],
        ["", "", "", "7", "1", "0.75", "0"],
        ["", "", "", "3", "0", "2", "1"],
        ["", "", "", "9", "2", "", "0"],
    ]
    with np.load(folder.path / "weights.npz") as arrays:
        assert arrays["weights"].dtype == np.float32
        assert arrays["flipped"].dtype == bool


def test_probabilities_come_back_and_name_the_predicted_class(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    probabilities = torch.tensor([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    folder.save_weights(**samples(probabilities=probabilities))
    read = folder.read_weights()
    torch.testing.assert_close(read.probabilities, probabilities, rtol=0, atol=0)
    assert read.predicted().tolist() == [1, 0, 2]
    assert SampleWeights(**samples()).predicted() is None


def test_weights_without_known_labels(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(FileNotFoundError, match="written when a run ends"):
        folder.read_weights()
    parts = {name: value for name, value in samples().items() if name not in ("clean", "flipped")}
    folder.save_weights(**parts)
    read = folder.read_weights()
    assert read.clean is None
    assert read.flipped is None
    assert (folder.path / "weights.csv").read_text().splitlines()[1] == ",,,7,1,0.75,"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("given", torch.ones(2)),
        ("index", torch.ones(3, 1)),
        ("weights", torch.ones(3)),
        ("loss", torch.ones(1, 3)),
        ("flipped", torch.ones(4)),
        ("probabilities", torch.ones(3)),
        ("probabilities", torch.ones(4, 2)),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path: Path, name: str, value: torch.Tensor
) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(ValueError, match="has shape"):
        folder.save_weights(**samples(**{name: value}))
    assert sorted(content(folder.path)) == ["manifest.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.save_weights(**samples())
    before = content(folder.path)

    def disk_full(file, *_array, **_options) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np.lib.format, "write_array", disk_full)
    with pytest.raises(OSError, match="no space left"):
        folder.save_weights(**samples(weights=torch.zeros(2, 3)))
    assert content(folder.path) == before


def test_files_are_readable_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = RunFolder.create(tmp_path / "run", {})
    finally:
        os.umask(before)
    assert (folder.path / "manifest.json").stat().st_mode & 0o777 == 0o644


def test_environment_names_versions_and_machine() -> None:
    seen = environment()
    assert seen["versions"]["metaweight"] == metaweight.__version__
    assert seen["versions"]["torch"] == torch.__version__
    assert seen["versions"]["higher"] == "0.2.1"
    recorded = {"higher", "numpy", "sacrebleu", "sentencepiece", "Babel"}
    assert set(seen["versions"]) == {"metaweight", "python", "torch"} | recorded
    assert seen["threads"] == torch.get_num_threads()
    assert seen["cpu"]
    assert len(seen["gpus"]) == torch.cuda.device_count()
    json.dumps(seen, allow_nan=False)


def test_manifest_has_config_seed_command_and_environment() -> None:
    made = manifest({"seed": 3, "lr": 0.1}, ("metaweight", "train"))
    assert made["config"] == {"seed": 3, "lr": 0.1}
    assert made["seed"] == 3
    assert made["command"] == ["metaweight", "train"]
    assert set(environment()) < set(made)
    assert "seed" not in manifest({"seeds": [1]}, [])


def test_commit_is_that_of_the_checkout_that_tracks_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    file = tmp_path / "environment.py"
    file.write_text("1")
    monkeypatch.setattr(source, "__file__", str(file))
    commit = source.state_of_source.__wrapped__
    assert commit() == (None, None)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "another project")
    assert commit() == (None, None)  # inside a checkout that does not track it, as site-packages are
    git("add", file.name)
    git("commit", "-q", "-m", "add")
    assert commit() == (git("rev-parse", "HEAD"), False)
    file.write_text("2")
    assert commit() == (git("rev-parse", "HEAD"), True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == (None, None)


def test_origins_lead_the_table_and_come_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    origins = Origins.of("my, file.tsv", [4, 2, 9], names=["a\x00", "", "b\r"], unit="line")
    folder.save_weights(**samples(), origins=origins)
    read = folder.read_weights().origins
    assert read is not None
    assert list(read) == list(origins)
    rows = read_csv(folder.path / "weights.csv")
    assert [(row["file"], row["row"], row["name"]) for row in rows] == [o.cells for o in origins]
