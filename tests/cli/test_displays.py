"""Displays never end the work: encodings, pipes whose reader has gone, full disks, closed streams."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slowly import slowly

from metaweight.cli.main import main
from metaweight.cli.streams import Steady, loss, spelt, steady_streams, write_out

ROOT = Path(__file__).parents[2]
SHORT = [
    *("train", "--epochs", "2", "--warmup-epochs", "0", "--train-size", "100", "--batch-size", "50"),
    *("--teacher", "mlp"),
]
FULL = Path("/dev/full")
KEPT = [
    "checkpoint.pt",
    "classes.json",
    "left_out.csv",
    "manifest.json",
    "rater.pt",
    "result.json",
    "steps.jsonl",
    "weights.csv",
    "weights.npz",
    "weights_by_epoch.bin",
]
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")


def shell(line: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a shell says of ``line``, in which ``mw`` is the command."""
    command = f"set -o pipefail; mw() {{ '{sys.executable}' -m metaweight.cli \"$@\"; }}; {line}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("end", ["| head -c 1 > /dev/null", "<&- >&- 2>&-"])
def test_a_run_goes_on_to_its_end_whatever_becomes_of_its_display(end: str, tmp_path: Path) -> None:
    done = shell(f"mw {' '.join(SHORT)} --out run {end}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == KEPT


@needs_full
def test_a_full_disk_behind_the_display_is_told_and_the_run_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FULL.open("w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*SHORT, "--out", str(tmp_path / "run")]) == 0
        stream.flush()  # nothing is held back that would fail at the end of the process
    assert capsys.readouterr().err == (
        "metaweight: standard output could not be written: No space left on device; "
        "the files are not touched by that\n"
    )
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == KEPT


@pytest.mark.parametrize(
    ("encoding", "sign"), [("ascii", "+-"), *slowly(("cp1252", "±"), ("cp437", "±")), ("utf-8", "±")]
)
def test_a_terminal_is_told_in_its_own_characters(
    encoding: str, sign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main([*SHORT, "--out", "run[lr=0.1]:x:\u3042\u202e"]) == 0
    text = written.getvalue().decode(encoding)
    assert f" {sign} " in text
    hiragana = "\u3042" if encoding == "utf-8" else r"\u3042"
    assert f"run folder: run[lr=0.1]:x:{hiragana}\\u202e\n" in text
    assert "test accuracy, last epoch" in text


def test_help_for_a_reader_that_has_gone_or_a_few_columns(tmp_path: Path) -> None:
    done = shell("mw --help | head -c 1", tmp_path, COLUMNS="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "u", "")


class Full(io.StringIO):
    """A disk without room."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["completion", "fish"], ["engines"]])
def test_nothing_but_words_is_lost_with_an_error(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith("could not be written: No space left on device\n")


def test_signs_have_stand_ins_and_other_characters_are_spelt_out() -> None:
    assert spelt("1.0 ± 0.2 … grün \u3042", "ascii") == r"1.0 +- 0.2 ... gr\xfcn \u3042"
    assert spelt("grün \udcff", "utf-8") == r"grün \udcff"
    assert spelt("grün − x", "latin-1") == "grün - x"


class Broken(io.StringIO):
    """Fails as told: with every write, or with every flush."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        super().__init__()
        self.error, self.late = error, late

    def write(self, text: str) -> int:
        if not self.late:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BrokenPipeError(32, "Broken pipe"), None),
        (
            OSError(28, "No space left on device"),
            "standard output could not be written: No space left on device",
        ),
        (
            ValueError("I/O operation on closed file"),
            "standard output could not be written: I/O operation on closed",
        ),
        (BlockingIOError(11, "try again"), None),
    ],
)
def test_a_stream_that_fails_is_kept_quiet_and_says_why(
    error: Exception, told: str | None, late: bool
) -> None:
    stream = Steady(Broken(error, late=late))
    assert stream.write("one") == 3
    stream.flush()
    assert stream.write("two") == 3
    assert (loss(stream) or "").startswith(told or "")
    assert (loss(stream) is None) == (told is None)


def test_streams_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout, sys.stderr
    with steady_streams() as out:
        assert sys.stdout is out
    assert (sys.stdout, sys.stderr) == before
    with pytest.raises(SystemExit):
        main(["--help"])
    assert (sys.stdout, sys.stderr) == before


@needs_full
def test_what_a_command_is_for_is_written_or_its_loss_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with steady_streams() as out:
        write_out("grün\n".encode())
    assert written.getvalue() == "grün\n".encode()
    assert loss(out) is None
    with FULL.open("w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="No space left"):
            write_out(b"x")
        with steady_streams() as out:
            write_out(b"x")
        assert loss(out) == "standard output could not be written: No space left on device"
