"""Translation from the command line: own files, a run, its translations, their score; mistakes in words."""

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
from tiny_translation import flags, pairs, write

from metaweight import checkpoint
from metaweight.cli import main
from metaweight.data.text import Vocabularies
from metaweight.report.record import RunFolder

TRAIN = ["train", "--task", "translation"]
Files = dict[str, Path]
Run = Callable[..., tuple[int, str]]


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Own files of a run: 60 training pairs, 16 trusted ones, 8 to validate, 8 to test."""
    ends = {"train": (0, 60), "meta": (60, 76), "valid": (76, 84), "test": (84, 92)}
    return {name: write(tmp_path / f"{name}.tsv", pairs(*span)) for name, span in ends.items()}


def own(files: Files, *names: str) -> list[str]:
    return [word for name in names or ("train", "meta", "valid") for word in (f"--{name}", str(files[name]))]


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
    manifest = RunFolder.open(out).manifest()
    assert manifest["task"] == "translation"
    assert counted in manifest["data"]
    references = "".join(f"{target}\n" for _, target in pairs(84, 92))
    assert (out / "reference.txt").read_text(encoding="utf-8") == references


def test_other_kinds_of_files_give_the_same_run(files: Files, tmp_path: Path) -> None:
    """CSV with named columns, gzipped JSON Lines, two plain files each: the text decides, not its form."""
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
    }
    found = set()
    for form, columns in forms.items():
        chosen = {name: tmp_path / names[form].format(name) for name in files}
        out = tmp_path / f"run-{form}"
        options = flags(teacher="uniform", epochs=1, batch_size=60)
        assert main([*TRAIN, *own(chosen, *files), *columns, *options, "--out", str(out)]) == 0
        found.add((out / "joint.model").read_bytes() + (out / "pairs.csv").read_bytes())
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
    manifest["config"]["model_options"] = ["width=32", *manifest["config"]["model_options"][1:]]
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
        assert f"{model} is another than this run's data gives" in words(capsys)
        data.write_text(text, encoding="utf-8")
        model.unlink()
        assert main(["train", "--resume", str(copy)]) == 2
        assert f"{model} is missing: copy it from where the run was started" in words(capsys)
    finally:
        data.write_text(text, encoding="utf-8")
    model.write_bytes(before["joint.model"])
    assert Vocabularies.load(copy) == Vocabularies.load(trained)


LONG = "rot " * 25_000


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", b"rot blau\n", "train.tsv, line 1: 1 fields, expected 2"),
        (
            "train",
            b"rot\tred\n" * 70 + b"rot\tr\xffd\n",
            "train.tsv, line 71: invalid UTF-8 at byte 6",
        ),
        ("train", b"\tred\nrot\t \n", "train.tsv: kept 0 of 2 pairs, dropped: empty 2"),
        ("train", b"", "train.tsv is empty"),
        ("meta", b"rot\tred\nblau\t \n", "meta.tsv, line 2: the target is empty"),
        ("valid", b"rot\tred\n\tblue\n", "valid.tsv, line 2: the source is empty"),
        ("test", b"\t\n", "test.tsv, line 1: the source is empty"),
        ("meta", f"rot\tred\n{LONG}\tred\n".encode(), "meta.tsv, line 2: the source has 100,000 characters"),
        ("valid", f"rot\t{LONG}\n".encode(), "valid.tsv, line 1: the target has 100,000 characters"),
        ("test", f"rot\t{LONG}\n".encode(), "test.tsv, line 1: the target has 100,000 characters"),
        ("meta", b"rot\tr\xe9d\n", "meta.tsv, line 1: invalid UTF-8 at byte 6"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_leaves_nothing(
    file: str, content: bytes, message: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[file].write_bytes(content)
    out = tmp_path / "run"
    assert main([*TRAIN, *own(files, *files), *flags(), "--out", str(out)]) == 2
    assert message in words(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("header", "row", "columns", "message"),
    [
        (
            "de,en",
            "a,b",
            ["de", "eng"],
            "table.csv, line 1: the header has no column 'eng'. Did you mean 'en'",
        ),
        ("de,en", '"a\nb",', ["de", "en"], "table.csv, row 2: the target is empty"),
        ("de,en", "a,b", ["de", "de"], "are 2 columns"),
    ],
)
def test_columns_of_a_table_are_looked_up(
    header: str,
    row: str,
    columns: list[str],
    message: str,
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"{header}\n{row}\n", encoding="utf-8")
    (tmp_path / "good.csv").write_text("de,en\nrot,red\n", encoding="utf-8")
    chosen = {"train": tmp_path / "good.csv", "meta": table, "valid": tmp_path / "good.csv"}
    out = tmp_path / "run"
    assert main([*TRAIN, *own(chosen), "--columns", *columns, *flags(), "--out", str(out)]) == 2
    assert message in words(capsys).replace("good.csv", "table.csv")
    assert not out.exists()


def test_plain_files_of_different_lengths_are_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    german, english = tmp_path / "a.de", tmp_path / "a.en"
    german.write_text("rot\nblau\n", encoding="utf-8")
    english.write_text("red\n", encoding="utf-8")
    files["meta"] = Path(f"{german},{english}")
    assert main([*TRAIN, *own(files), *flags(), "--out", str(tmp_path / "run")]) == 2
    assert f"{german}, line 2: no such line in {english}, which has 1 lines of 2" in words(capsys)


def test_shared_sentences_are_named_or_dropped(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = pairs(60, 76)
    write(files["train"], [*pairs(0, 60), trusted[0], (trusted[1][0], "red"), ("rot", trusted[2][1])])
    arguments = [*TRAIN, *own(files), *flags(teacher="uniform"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    text = words(capsys)
    assert f"3 of the train pairs ({files['train']}) share a sentence with the meta pairs" in text
    assert f"({files['meta']}): '{trusted[0][0]}', '{trusted[1][0]}', '{trusted[2][1]}'; remove them" in text
    assert "--overlap drop" in text
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--overlap", "drop"]) == 0
    text = words(capsys)
    assert "train.tsv, 60 training pairs" in text
    assert "kept 63 of 63 pairs; 3 more share a sentence with a trusted file" in text


def test_trusted_files_that_share_a_sentence_are_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(files["valid"], pairs(75, 84))
    arguments = [*TRAIN, *own(files), *flags(), "--overlap", "drop", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    text = words(capsys)
    assert f"1 of the meta pairs ({files['meta']}) share a sentence with the valid pairs" in text
    assert "--overlap" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocab-size", "5000"], "vocab_size 5000 is more than the text allows"),
        (["--languages", "de", "de"], "source and target language are both 'de'"),
        (["--unit", "word"], "a unit of text is sentence or token, got 'word'"),
        (["--unit", "tokens"], "got 'tokens'"),
        (["--data", "multi30k"], "data has no meaning beside train"),
        (["--meta-size", "5"], "meta_size has no meaning beside train"),
        (["--teacher", "atention"], "Did you mean 'attention'"),
        (["--model", "transformer"], "Did you mean 'transformer-"),
        (["--model-options", "widht=4"], "Did you mean 'width'"),
        (["--overlap", "dorp"], "unknown overlap 'dorp'. Did you mean 'drop'"),
        (["--vocab-model", "bpee"], "Did you mean 'bpe'"),
        (["--noise", "copid"], "Did you mean 'copied'"),
        (["--batch-size", "61"], "batch_size 61 gives no batch of 60 pairs"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
    ],
)
def test_a_mistake_in_an_option_leaves_nothing(
    arguments: list[str], message: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*TRAIN, *own(files), *flags(), *arguments, "--out", str(out)]) == 2
    assert message in words(capsys)
    assert not out.exists()


def test_which_files_a_run_needs_is_said(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    for given in (["train"], ["train", "meta"], ["train", "valid"]):
        assert main([*TRAIN, *own(files, *given), *flags(), *out]) == 2
        assert "beside train give meta, the trusted pairs, and valid or test" in words(capsys)
    assert main([*TRAIN, *own(files, "meta", "valid"), *flags(), *out]) == 2
    assert "meta goes with train" in words(capsys)
    assert main([*TRAIN, *own(files, "train", "meta", "test"), *flags(teacher="uniform"), *out]) == 0
    assert "valid loss" not in words(capsys)  # the test set chooses nothing


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
