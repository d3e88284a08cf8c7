"""``metaweight verify`` on finished runs: which scores it takes, what it writes, prints and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_images import config

from metaweight.cli import scores
from metaweight.cli.main import main
from metaweight.core.console import Terminal
from metaweight.influence import Certificate, WholeRun
from metaweight.tasks import tasks
from metaweight.training.run_folder import RunFolder

IMAGES = ("--train-size", "60", "--meta-size", "20", "--valid-size", "20", "--batch-size", "20")
TINY = ("--meta-batch-size", "10", "--model-options", "width=4", "--epochs", "2", "--warmup-epochs", "0")
OPTIONS = ("train", *IMAGES, *TINY, "--noise", "uniform", "--lr", "0.1", "--threads", "1")
FEW = ("--subsets", "5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders ``plain`` and ``taught``, of the same data: nobody writes into them."""
    place = tmp_path_factory.mktemp("runs")
    for name, teacher in (("plain", "uniform"), ("taught", "knn")):
        assert main([*OPTIONS, "--teacher", teacher, "--out", str(place / name)]) == 0
    return place


@pytest.fixture
def plain(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "plain", tmp_path / "plain"))


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def of(folder: Path) -> scores.Of:
    run, samples = WholeRun.opened(folder), RunFolder.open(folder).read_weights().own
    return scores.Of(Terminal(), run, run.rows(), samples, samples, 0)


def test_scores_of_a_plain_run(plain: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(plain), *FEW]) == 0
    said = words(capsys)
    assert "left out: weights: all weights are equal" in said
    assert "the mean loss of the trusted rows" in said
    assert "the run, of 6 steps, is trained again for each of 5 random sets" in said
    found = Certificate.load(plain / "verify.json")
    assert [score.name for score in found.scores] == ["influence", "random"]
    assert (found.subsets, found.share, found.samples, found.noise) == (5, 0.05, 60, None)
    assert " ".join(str(found).split()) in said
    assert all(sentence in said for sentence in found.sentences())

    again = ["verify", str(plain), *FEW, "--weights-of", str(runs / "taught")]
    assert main(again) == 2
    assert "verify.json exists: choose another folder with --out" in words(capsys)
    kept = next((plain / "whole").glob("verify-*/retrainings.jsonl"))
    before = kept.read_text()
    out = plain.parent / "out"
    own = plain.parent / "mine.csv"
    shutil.copy(runs / "plain" / "weights.csv", own)
    assert main([*again, "--scores", "weights", str(own), "--out", str(out)]) == 2
    assert "mine.csv, row 1: 'index' is a whole number and 'file', the first other column" in words(capsys)
    own.write_text("index,score,more\n" + "".join(f"{index},{index % 7},x\n" for index in range(50)))
    assert main([*again, "--scores", "weights", str(own), "influence", "--out", str(out)]) == 0
    beside = Certificate.load(out / "verify.json")
    assert [score.name for score in beside.scores] == ["weights", "mine", "influence"]
    assert beside.scores[2] == found.scores[0]
    assert kept.read_text().startswith(before)  # what was trained is not trained again
    assert "left out" not in words(capsys)


def test_scores_say_harm_with_a_plus(plain: Path, runs: Path) -> None:
    its = of(plain)
    samples = its.samples
    assert samples.given is not None
    assert samples.probabilities is not None
    sure = samples.probabilities.double().gather(1, samples.given[:, None]).squeeze(1)
    torch.testing.assert_close(scores.scored("cleanlab", its)[samples.index], -sure, rtol=0, atol=1e-12)

    taught = scores.weights_of(runs / "taught", RunFolder.open(plain))
    from_teacher = scores.Of(its.console, its.run, its.asked, samples, taught, 0)
    found = scores.scored("weights", from_teacher)
    assert torch.equal(found[taught.index].float(), -taught.mean_weight())
    assert int(found.isfinite().sum()) == 60
    first, other = (scores.scored("random", its), scores.scored("random", of(plain)))
    assert torch.equal(first, other)


def test_neighbours_are_those_of_the_end_of_the_run(plain: Path) -> None:
    """Written out: a sample at a time, by the student of the checkpoint."""
    its = of(plain)
    found = scores.scored("knn", its)
    own = config(noise="uniform", epochs=2, lr=0.1, teacher="uniform")
    prepared = tasks["image"].prepare(own)
    student = its.run.student
    student.module.eval()

    def state(position: int) -> torch.Tensor:
        batch = tasks["image"].batches(own, prepared, torch.tensor([position]), training=False).batch(0, 0)
        with torch.no_grad():
            return student(batch).features[student.taps[-1]][0].double()

    trusted = prepared.splits.meta.tolist()
    states = torch.stack([state(at) for at in trusted])
    middle = states.mean(0)
    for position in prepared.splits.train[:8].tolist():
        near = torch.cosine_similarity(state(position) - middle, states - middle, dim=1)
        nearest = [trusted[at] for at in near.argsort(descending=True)[:10].tolist()]
        agree = sum(int(prepared.labels[at]) == int(prepared.labels[position]) for at in nearest)
        assert float(found[position]) == pytest.approx(-agree / 10, abs=1e-12)
    assert int(found.isfinite().sum()) == 60


def test_what_cannot_be_verified(plain: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = Path(shutil.copytree(runs / "taught", plain.parent / "taught"))
    assert main(["verify", str(taught)]) == 2
    said = words(capsys)
    assert "had a teacher, whose weights change from visit to visit" in said
    assert f"metaweight verify PLAIN_RUN --weights-of {taught}" in said
    (taught / "plain").mkdir()
    (taught / "plain" / "manifest.json").write_text("{}")
    assert main(["verify", str(taught)]) == 2
    assert f"metaweight verify {taught / 'plain'} --weights-of {taught}" in words(capsys)

    about = json.loads((taught / "manifest.json").read_text())
    about["digests"]["training labels"] = "others"
    (taught / "manifest.json").write_text(json.dumps(about))
    assert main(["verify", str(plain), "--weights-of", str(taught)]) == 2
    assert "is not of the same data as" in words(capsys)

    for given, message in (
        (["--scores", "influences"], "Did you mean 'influence'?"),
        (["--scores", "random", "random"], "two scores are called 'random'"),
        (["--scores", "weights"], "there is no score to verify"),
        (["--scores", "nothing.csv"], "nothing.csv"),
        (["--jobs", "0"], "jobs is a positive number"),
    ):
        assert main(["verify", str(plain), *given]) == 2
        assert message in words(capsys)
    assert not (plain / "verify.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\n1\n", "has no scores: it needs a column 'index'"),
        ("row,score\n1,2\n", "has no column index"),
        ("index,score\n70,1\n", "row 1: index 70 is none of the run's, 0 to 59"),
        ("index,score\n1,1\n2,much\n", "row 2: 'index' is a whole number and 'score'"),
    ],
)
def test_files_that_hold_no_scores(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        scores.read_file(path, 60)


def test_an_empty_cell_is_no_score(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("score,index\n0.5,2\n,0\n")
    found = scores.read_file(path, 3)
    assert found.isnan().tolist() == [True, True, False]
    assert float(found[2]) == 0.5
