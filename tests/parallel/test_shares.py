"""What each process reads and evaluates of a run, against one process and against reading all."""

from __future__ import annotations

from typing import Any

import parted_runs as runs
import pytest
import torch
from several_processes import Ranks
from tiny_translation import pairs
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import metaweight as mw
from metaweight.core.processes import Processes
from metaweight.data.loaders import LoaderBatches
from metaweight.data.text import Bitext, train_vocabularies
from metaweight.models.transformer import Transformer
from metaweight.tasks.text.measures import measure_classes
from metaweight.tasks.tokens.measures import measure as measure_tokens
from metaweight.tasks.translation.decoding import translate
from metaweight.tasks.translation.task import loss_per_token
from metaweight.training.evaluation import evaluate
from metaweight.training.spread import spread
from metaweight.training.trainer import Trainer


class Counted(Dataset[tuple[Tensor, Tensor]]):
    """The rows of ``parted_runs``, with noise that is drawn when a row is read."""

    def __init__(self) -> None:
        self.read: list[int] = []
        whole = runs.batch(runs.SAMPLES, 1)
        self.x, self.y = whole.args[0], whole.targets

    def __len__(self) -> int:
        return runs.SAMPLES

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.read.append(place)
        return self.x[place] + 0.1 * torch.randn(6, dtype=runs.DOUBLE), self.y[place]


class Plain:
    """A Source that knows nothing of parts."""

    def __init__(self, source: LoaderBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, epoch: int, position: int) -> mw.Batch:
        return self.source.batch(epoch, position)


def trained(rank: int, size: int, shared: bool) -> tuple[dict[str, Tensor], list[int]]:
    """What three epochs leave, and the rows that were read after the first."""
    rows, counted, trusted = runs.reweighter(runs.Case(), rank, size), Counted(), Counted()
    sources: list[Any] = [
        LoaderBatches(DataLoader(one, batch_size=batch, shuffle=True), seed=place)
        for place, (one, batch) in enumerate(((counted, 12), (trusted, 6)))
    ]
    train, meta = sources if shared else map(Plain, sources)
    trainer = Trainer(rows, train, meta, epochs=3)
    trainer.fit()
    found = {name: p.detach() for name, p in rows.student.module.named_parameters()}
    found |= {f"teacher.{name}": value for name, value in rows.teacher.state_dict().items()}
    return found, [len(counted.read), len(trusted.read)]


@pytest.mark.slow
def test_each_process_reads_its_rows_and_trains_as_if_it_read_all(ranks: Ranks) -> None:
    shares, wholes = (ranks.run(3, trained, shared) for shared in (True, False))
    for (ours, few), (theirs, many) in zip(shares, wholes, strict=True):
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
        # the rows of one batch tell that they are drawn, and are read again
        assert few == [3 * 60 // 3 + 4, 15 * 6 // 3 + 2]
        assert many == [3 * 60 + 12, 15 * 6 + 6]


def measured(rank: int, size: int) -> tuple[dict[str, Any], list[int]]:
    """Figures of students as they begin, and how often each was called for them."""
    processes = Processes.at_hand()
    rows = [runs.batch(count, 20 + count) for count in (7, 2, 9, 4, 5)]
    loader = LoaderBatches(DataLoader(Counted(), batch_size=13))
    words = [runs.sentences(count, 20 + count) for count in (3, 1, 5, 2)]
    tagged = [mw.Batch(one.inputs, one.targets - 100 * (one.targets == 0), one.index) for one in words]
    net = nn.Sequential(nn.Embedding(runs.WORDS, 8), nn.Linear(8, runs.WORDS)).to(runs.DOUBLE)
    torch.manual_seed(4)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    of_rows = mw.Student(runs.module())
    padded, ignored = (mw.Student(net, mw.losses.TokenCrossEntropy(padding)) for padding in (0, -100))
    tasks: list[tuple[Any, mw.Student, Any]] = [
        (evaluate, of_rows, rows),
        (evaluate, of_rows, loader),
        (measure_classes, of_rows, rows[:2]),
        (loss_per_token, padded, words),
        (measure_tokens([f"C{n}" for n in range(runs.WORDS - 1)] + ["O"]), ignored, tagged),
        (lambda _, batches: {"seen": sum(map(len, batches))}, of_rows, rows),
    ]
    calls: list[int] = []
    for one in (of_rows, ignored):
        one.module.register_forward_hook(lambda *_: calls.append(1))
    found, called = {}, []
    for place, (figures, student, batches) in enumerate(tasks):
        calls.clear()
        found |= {
            f"{place} {name}": value for name, value in figures(student, spread(batches, processes)).items()
        }
        called.append(len(calls))
    return found, called


@pytest.mark.parametrize("size", [2, 3])
def test_figures_are_those_of_one_process_of_which_each_measures_its_batches(ranks: Ranks, size: int) -> None:
    alone, passes = measured(0, 1)
    assert passes == [5, 5, 2, 4, 4, 0]
    assert len(alone) == 12
    for found, called in ranks.run(size, measured):
        assert found == alone
        assert called == [-(-count // size) for count in passes]


def failing(rank: int, size: int) -> str:
    """The second of three batches is none of the student's."""
    narrow = torch.ones(2, 5, dtype=runs.DOUBLE)
    good, bad = runs.batch(4, 20), mw.Batch((narrow,), torch.zeros(2).long(), torch.arange(2))
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        evaluate(mw.Student(runs.module()), spread([good, bad, good], Processes.at_hand()))
    return str(caught.value)


def test_an_error_of_one_process_is_raised_in_all(ranks: Ranks) -> None:
    assert ranks.run(3, failing) == [failing(0, 1)] * 3


def measured_in_shards(rank: int, size: int) -> dict[str, float]:
    """Each pass gathers the parameters, so all have to make as many."""
    live = runs.reweighter(runs.Case(sharded=size > 1), rank, size)
    batches = [runs.batch(count, 20 + count) for count in (7, 2, 9)]
    return evaluate(live.student, spread(batches, live.student.processes))


def test_a_student_in_shards_is_measured_by_all_processes(ranks: Ranks) -> None:
    alone = measured_in_shards(0, 1)
    assert ranks.run(2, measured_in_shards) == [pytest.approx(alone, rel=1e-12)] * 2


def translated(rank: int, size: int) -> tuple[list[Any], int]:
    """Translations of a student without training, and the sentences that were searched for here."""
    vocabularies = train_vocabularies(Bitext(*zip(*pairs(0, 60), strict=True)), 40, model="bpe")
    torch.manual_seed(3)
    options = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1}
    module, searched = Transformer(40, 40, **options).double(), []
    module.encoder.register_forward_pre_hook(lambda _, args: searched.append(len(args[0])))
    lines = ["", *(" ".join(source.split()[: 1 + n % 7]) for n, (source, _) in enumerate(pairs(60, 72)))]
    found = translate(module, vocabularies, lines, beam=2, batch_tokens=25, processes=Processes.at_hand())
    return found, sum(searched)


def test_each_process_translates_its_share(ranks: Ranks) -> None:
    alone, all_of_them = translated(0, 1)
    found = ranks.run(3, translated)
    assert [one for one, _ in found] == [alone] * 3
    searched = [count for _, count in found]
    assert sum(searched) == all_of_them == 12
    assert max(searched) <= 6


def test_what_gives_no_batch_cannot_be_evaluated() -> None:
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        evaluate(mw.Student(runs.module()), [])
