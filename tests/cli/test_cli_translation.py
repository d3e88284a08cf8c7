"""Translation from the command line: own files, a run, its translations, their score."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu
import torch
from tiny_translation import TRAIN, Files, flags, own, own_files, pairs, words, write

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.data.text import Vocabularies
from metaweight.training import checkpoint
from metaweight.training.run_folder import RunFolder

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return own_files(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three files, made by the command line."""
    folder = tmp_path_factory.mktemp("trained")
    ends = {"train": (0, 60), "meta": (60, 76), "valid": (76, 84)}
    made = {name: write(folder / f"{name}.tsv", pairs(*span)) for name, span in ends.items()}
    out = folder / "run"
    # a pair that the filter drops, so that line and index differ
    made["train"].write_text(made["train"].read_text(encoding="utf-8") + "\tred\n", encoding="utf-8")
    assert main([*TRAIN, *own(made), *flags(teacher="mw-net", epochs=4), "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """The run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


@pytest.fixture
def translate(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``translate(text or bytes, *arguments)`` -> exit status, and its output or what it complained of."""

    def call(text: str | bytes, *arguments: str) -> tuple[int, str]:
        data = text if isinstance(text, bytes) else text.encode()
        out, errors = io.BytesIO(), io.StringIO()
        with monkeypatch.context() as streams:
            streams.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            streams.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            streams.setattr(sys, "stderr", errors)
            status = main(["translate", *arguments])
            printed = out.getvalue().decode()
        return status, printed if status == 0 else " ".join(errors.getvalue().split())

    return call


def test_own_files_give_a_run_with_weights_beside_sentences(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    rows = [*pairs(0, 60), ("rot", ""), (" ", "red"), ("rot " * 25_000, "red")]
    write(files["train"], rows)
    assert main([*TRAIN, *own(files, *files), *flags(teacher="uniform"), "--out", str(out)]) == 0
    text = words(capsys)
    counted = f"{files['train']}: kept 60 of 63 pairs, dropped: empty 2, too-long 1"
    assert f"data: train.tsv, 60 training pairs: own files; {counted}" in text
    assert "BLEU|nrefs:1|case:mixed" in text.replace(" ", "")
    assert "8 sentences" in text
    assert "AUROC" not in text  # nothing was spoilt on purpose
    assert "tokens/s" in text
    assert f"weight of every sample: {out / 'weights.csv'} with its sentences: {out / 'pairs.csv'}" in text
    with (out / "pairs.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["source"], row["target"], row["kind"]) for row in read] == [(*p, "") for p in pairs(0, 60)]
    assert RunFolder.open(out).read_weights().flipped is None  # nobody knows
    with (out / "weights.csv").open(encoding="utf-8", newline="") as file:
        assert {row["flipped"] for row in csv.DictReader(file)} == {""}
    manifest = RunFolder.open(out).manifest()
    assert manifest["task"] == "translation"
    assert counted in manifest["data"]
    references = "".join(f"{target}\n" for _, target in pairs(84, 92))
    assert (out / "reference.txt").read_text(encoding="utf-8") == references


@pytest.mark.slow
def test_other_kinds_of_files_give_the_same_run(files: Files, tmp_path: Path) -> None:
    """CSV with named columns, gzipped JSON Lines, two plain files: the text decides, not its form.

    And each pair is found where the form has it.
    """
    forms: dict[str, list[str]] = {"tsv": []}
    for form in ("csv", "jsonl.gz"):
        for name, path in files.items():
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
            if form == "csv":
                text = io.StringIO()
                csv.writer(text).writerows(
                    [["en", "id", "de"], *([b, n, a] for n, (a, b) in enumerate(rows))]
                )
                (tmp_path / f"{name}.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
            else:
                lines = "".join(json.dumps({"en": b, "de": a}) + "\n" for a, b in rows)
                (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
            for side, column in (("de", 0), ("en", 1)):
                text = "".join(row[column] + "\n" for row in rows)  # type: ignore[assignment]
                (tmp_path / f"{name}.{side}").write_text(str(text), encoding="utf-8")
        forms[form] = ["--columns", "de", "en"]
    forms["plain"] = []
    names = {
        "tsv": "{}.tsv",
        "csv": "{}.csv",
        "jsonl.gz": "{}.jsonl.gz",
        "plain": "{0}.de," + str(tmp_path) + "/{0}.en",
        "two": "{}.de",
    }
    forms["two"] = []
    found = set()
    for form, columns in forms.items():
        chosen = {name: tmp_path / names[form].format(name) for name in files}
        out = tmp_path / f"run-{form}"
        options = flags(teacher="uniform", epochs=1, batch_size=60)
        given = own(chosen, *files)
        if form == "two":
            given = [w for word in given for w in (word, word[:-3] + ".en")[: 1 + word.endswith(".de")]]
        assert main([*TRAIN, *given, *columns, *options, "--out", str(out)]) == 0
        read = read_csv(out / "pairs.csv")
        where = [(row.pop("file"), int(row.pop("row")), row.pop("name")) for row in read]
        file = str(tmp_path / names[form].format("train")).partition(",")[0]
        first = 2 if form == "csv" else 1
        assert where == [(file, line, "") for line in range(first, first + 60)]
        found.add((out / "joint.model").read_bytes() + str(read).encode())
    assert len(found) == 1


def test_translations_are_scored(
    trained: Path, translate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pairs(92, 104)
    status, hypotheses = translate("".join(f"{source}\n" for source, _ in rows), str(trained))
    assert status == 0
    lines = hypotheses.split("\n")[:-1]
    assert len(lines) == 12
    hypothesis, reference = tmp_path / "hypothesis.txt", tmp_path / "reference.txt"
    hypothesis.write_text(hypotheses, encoding="utf-8")
    reference.write_text("".join(f"{target}\n" for _, target in rows), encoding="utf-8")
    assert main(["score", str(hypothesis), str(reference)]) == 0
    text = words(capsys)
    references = [[target for _, target in rows]]
    bleu, chrf = sacrebleu.corpus_bleu(lines, references), sacrebleu.corpus_chrf(lines, references)
    assert bleu.score > 0.1
    assert f"BLEU │ {bleu.score:.1f} │" in text
    assert f"chrF │ {chrf.score:.1f} │" in text
    assert f"{bleu.sys_len} / {bleu.ref_len}" in text
    reference.write_text("one\n", encoding="utf-8")
    assert main(["score", str(hypothesis), str(reference)]) == 2
    assert f"{hypothesis}, line 2: no such line in {reference}, which has 1 lines of 12" in words(capsys)
    assert main(["score", str(hypothesis), str(hypothesis), "--tokenize", "13b"]) == 2
    assert "Did you mean '13a'" in words(capsys)


def test_the_test_set_is_translated_alike_in_and_after_the_run(trained: Path, translate: Run) -> None:
    sources = "".join(f"{source}\n" for source, _ in pairs(76, 84))
    status, found = translate(sources, str(trained))
    assert (status, found) == (0, (trained / "hypothesis.txt").read_text(encoding="utf-8"))


def test_lines_stay_lines(trained: Path, translate: Run) -> None:
    first, second = (source for source, _ in pairs(92, 94))
    _, expected = translate(f"{first}\n{second}\n", str(trained))
    one, two = expected.split("\n")[:-1]
    assert translate("\ufeff" + f"{first}\r\n\r\n{second}", str(trained)) == (0, f"{one}\n\n{two}\n")
    assert translate("", str(trained)) == (0, "")
    # lines that show nothing, of any kind of white space, stay empty
    blank = "\t\n\u00a0\n\u3000 \n\u0085\n\u200b\ufeff\n"
    assert translate(f"{blank}{first}\n", str(trained)) == (0, "\n" * 5 + f"{one}\n")
    _, several = translate(f"{first}\n\n", str(trained), "--nbest", "3")
    rows = [line.split(" ||| ") for line in several.split("\n")[:-1]]
    assert [row[0] for row in rows] == ["0", "0", "0", "1"]
    scores = [float(row[2]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    assert rows[3] == ["1", "", "0.0000"]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (b"rot\nbl\xffau\n", [], "standard input, line 2 is not UTF-8"),
        ("rot\n" + "rot " * 2000, [], "line 2 has"),
        ("rot\n", ["--max-source", "0"], "line 1 has"),
        ("rot\n", ["--beam", "0"], "nbest is 1..beam"),
        ("rot\n", ["--beam", "2", "--nbest", "3"], "got nbest 3 and beam 2"),
        ("rot\n", ["--length-penalty", "inf"], "length_penalty is finite"),
        ("rot\n", ["--device", "cdua"], "device 'cdua' cannot be used here"),
    ],
)
def test_a_bad_line_or_option_is_said_in_words(
    text: str | bytes, arguments: list[str], message: str, trained: Path, translate: Run
) -> None:
    status, said = translate(text, str(trained), *arguments)
    assert status == 2
    assert message in said


def test_translate_takes_a_translation_run_and_no_other(tmp_path: Path, translate: Run) -> None:
    RunFolder.create(tmp_path / "image", {"task": "image", "config": {}})
    status, said = translate("rot\n", str(tmp_path / "image"))
    assert status == 2
    assert f"{tmp_path / 'image'} is a run of the task image: name a translation run" in said
    RunFolder.create(tmp_path / "old", {"config": {}})
    assert "is a run of the task image" in translate("rot\n", str(tmp_path / "old"))[1]
    assert "is no run folder" in translate("rot\n", str(tmp_path))[1]


def test_translate_needs_the_runs_own_vocabulary_and_checkpoint(
    copy: Path, translate: Run, tmp_path: Path
) -> None:
    model = copy / "joint.model"
    kept = model.read_bytes()
    model.unlink()
    status, said = translate("rot\n", str(copy))
    assert status == 2
    assert f"the SentencePiece model {model} is missing" in said
    model.write_bytes(kept[:-40])
    assert f"{model}: the SentencePiece model is damaged" in translate("rot\n", str(copy))[1]
    model.write_bytes(kept)
    (copy / "checkpoint.pt").rename(tmp_path / "away.pt")
    assert f"no checkpoint at {copy / 'checkpoint.pt'}" in translate("rot\n", str(copy))[1]
    (copy / "checkpoint.pt").write_bytes((tmp_path / "away.pt").read_bytes()[:500])
    assert "is truncated or no checkpoint" in translate("rot\n", str(copy))[1]
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["config"]["model_options"]["width"] = 32
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "away.pt").replace(copy / "checkpoint.pt")
    status, said = translate("rot\n", str(copy))
    assert status == 2
    assert (
        "is of another architecture: student.head.weight is [40, 16] there and [40, 32] in this run" in said
    )


def test_a_part_of_a_checkpoint_is_checked_alone(trained: Path) -> None:
    path = trained / "checkpoint.pt"
    module = torch.load(path, weights_only=True)["state"]["reweighter"]["student"]
    shapes = checkpoint.shapes_of("student", module)
    assert checkpoint.load(path, shapes, part="student")["reweighter"]["steps"] == 12
    with pytest.raises(checkpoint.CheckpointError, match="another architecture: optimizer is Adam there"):
        checkpoint.load(path, shapes)
    missing = dict(list(shapes.items())[1:])
    with pytest.raises(checkpoint.CheckpointError, match=r"is \[40, 16\] there and absent in this run"):
        checkpoint.load(path, missing, part="student")


def test_resume_goes_on_only_with_the_vocabulary_of_its_text(
    copy: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main(["train", "--resume", str(copy)]) == 0  # nothing is left to train: the same end again
    text = words(capsys)
    assert "BLEU, last epoch" in text
    for name in ("hypothesis.txt", "pairs.csv", "joint.model", "weights.csv", "steps.jsonl"):
        assert (copy / name).read_bytes() == before[name]
    data = trained.parent / "train.tsv"
    text, model = data.read_text(encoding="utf-8"), copy / "joint.model"
    try:
        write(data, [(source.replace("rot", "grün"), target) for source, target in pairs(0, 60)])
        assert main(["train", "--resume", str(copy)]) == 2
        told = words(capsys)
        assert f"{copy}: the training rows and vocabulary are not what the run was started with" in told
        data.write_text(text, encoding="utf-8")
        model.write_bytes(before["joint.model"] + b" ")
        assert main(["train", "--resume", str(copy)]) == 2
        assert f"{model} is another than this run's data gives" in words(capsys)
        model.unlink()
        assert main(["train", "--resume", str(copy)]) == 2
        assert f"{model} is missing: copy it from where the run was started" in words(capsys)
    finally:
        data.write_text(text, encoding="utf-8")
    model.write_bytes(before["joint.model"])
    assert Vocabularies.load(copy) == Vocabularies.load(trained)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--task", "translation"], ["--overlap", "--max-tokens", "--unit", "pairs.tsv --meta"]),
        (["translate"], ["--nbest", "--length-penalty", "Run folder", "hypothesis.txt"]),
        (["score"], ["--tokenize", "signatures"]),
        ([], ["translate", "score"]),
    ],
)
def test_help_explains_the_commands(
    arguments: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    text = words(capsys)
    assert [word for word in told if word not in text] == []


def test_the_nearest_task_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--task", "translatoin"]) == 2
    assert "unknown task 'translatoin'. Did you mean 'translation'" in words(capsys)
