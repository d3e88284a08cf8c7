"""ReweightingTrainer against metaweight's own loop, and against the Trainer that it is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hugging_face_models import CASES, Case, arguments, bert, gpt2, llama, text
from slowly import covering, slowly
from step_parts import ByLoss
from torch import Tensor

import metaweight as mw
from metaweight.cli.main import main
from metaweight.report.suspects import Suspects

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEADY = {"max_grad_norm": 0.3, "lr_scheduler_type": "linear"}
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*will be removed in v6:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]


class InOrder(mw.huggingface.ReweightingTrainer):
    """Takes the rows as they lie, so that a plain loop can too."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(train_dataset)


class Started(ByLoss):
    """Weights that differ from the first step on."""

    def __init__(self, spec: object = None) -> None:
        super().__init__(spec)
        torch.nn.init.constant_(self.score.weight, 0.3)


def own_loop(case: Case, rows: list[Any], trusted: list[Any], parts: int) -> tuple[Any, ByLoss]:
    """The same in torch alone: ``step`` for batches that are a step, ``weigh`` for parts of one."""
    model = case.model(transformers).train()
    teacher = Started().double()
    student = mw.Student(model, case.losses)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.02, weight_decay=0.0
    )
    own = torch.optim.Adam(teacher.parameters(), lr=0.01)
    reweighter = mw.Reweighter(
        student, teacher, optimizer=optimizer, teacher_optimizer=own, engine="double", max_norm=0.3
    )
    meta = case.batch(model, trusted, list(range(len(trusted))))
    steps = [list(range(at, min(at + 4 * parts, len(rows)))) for at in range(0, len(rows), 4 * parts)] * 2
    for number, index in enumerate(steps):
        share = 1 - number / len(steps)
        for group in (*optimizer.param_groups, *own.param_groups):
            group["lr"] = group.setdefault("first", group["lr"]) * share
        if parts == 1:
            reweighter.step(case.batch(model, rows, index), meta)
            continue
        micros = [case.batch(model, rows, index[at : at + 4]) for at in range(0, len(index), 4)]
        sizes = [int((micro.targets != -100).sum()) for micro in micros]
        for micro, size in zip(micros, sizes, strict=True):
            weights = reweighter.weigh(micro, meta, micro_batches=sum(sizes) / size)
            losses = case.losses(micro.call(model), micro.targets)
            ((weights * losses).mean() * size / sum(sizes)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        optimizer.zero_grad()
    return model, teacher


def close(ours: Any, theirs: Any) -> None:
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *(("gpt2", 4), ("bert", 1), ("t5", 1)),
        *slowly(("gpt2", 1), ("bert", 4), ("marian", 1), ("lora", 4)),
    ],
)
def test_it_is_metaweights_own_loop(name: str, parts: int, tmp_path: Path) -> None:
    case = CASES[name]
    rows, trusted = text(12 if parts == 1 else 20, 1, case.label), text(4, 2, case.label)
    args = arguments(transformers, tmp_path, gradient_accumulation_steps=parts, **STEADY)
    trainer = InOrder(
        case.model(transformers),
        args,
        train_dataset=rows,
        trusted_dataset=trusted,
        teacher=Started(),
        teacher_learning_rate=0.01,
        engine="double",
    )
    trainer.train()
    model, teacher = own_loop(case, rows, trusted, parts)
    start = case.model(transformers)
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), model.parameters(), strict=True))
    assert abs(teacher.score.weight.item() - 0.3) > 1e-3
    close(trainer.model, model)
    close(trainer.weighing.reweighter.teacher, teacher)
    assert trainer.weights()["mean_weight"].notna().all()


def run(model: Any, folder: Path, rows: Any, **options: Any) -> Any:
    chosen = {name: options.pop(name) for name in ("resume",) if name in options}
    args = options.pop("args")
    trainer = mw.huggingface.ReweightingTrainer(model, args, train_dataset=rows, **options)
    trainer.train(resume_from_checkpoint=chosen.get("resume"))
    return trainer


@pytest.mark.parametrize(("smoothing", "parts"), covering([0.0, 0.1], [1, 2]))
def test_equal_weights_are_the_plain_trainer(parts: int, smoothing: float, tmp_path: Path) -> None:
    """Shuffled rows, dropout, clipping, tokens counted over micro-batches."""
    args = arguments(
        transformers, tmp_path, gradient_accumulation_steps=parts, label_smoothing_factor=smoothing, **STEADY
    )
    torch.manual_seed(0)
    models = [llama(transformers) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    rows = text(10, 1)
    transformers.Trainer(models[0], args, train_dataset=rows).train()
    run(models[1], tmp_path, rows, args=args, teacher="uniform")
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_a_resumed_run_is_an_undisturbed_one(tmp_path: Path) -> None:
    """Dropout, shuffled rows, a teacher with memory of its own; every bit."""

    def begun(folder: Path, resume: str | None = None) -> Any:
        torch.manual_seed(0)
        args = arguments(
            transformers, folder, save_strategy="steps", save_steps=3, gradient_accumulation_steps=2, **STEADY
        )
        return run(
            gpt2(transformers, dropout=0.2),
            folder,
            text(18, 1),
            args=args,
            trusted_dataset=text(5, 2),
            trusted_batch_size=2,
            teacher="recall",
            teacher_learning_rate=0.05,
            engine="double",
            resume=resume,
        )

    whole = begun(tmp_path / "whole")
    resumed = begun(tmp_path / "again", str(tmp_path / "whole" / "checkpoint-3"))
    assert whole.state.global_step == resumed.state.global_step == 6
    histories = [one.weighing.history for one in (whole, resumed)]
    for ours, theirs in (
        (whole.model.state_dict(), resumed.model.state_dict()),
        (whole.weighing.reweighter.teacher.state_dict(), resumed.weighing.reweighter.teacher.state_dict()),
        [{"weights": one.weights, "loss": one.loss} for one in histories],
    ):
        for name, value in ours.items():
            assert torch.equal(value.nan_to_num(), theirs[name].nan_to_num()), name
    assert float(whole.weights()["mean_weight"].std()) > 1e-4


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_rows_are_those_of_the_data_set(unit: str, tmp_path: Path) -> None:
    """Whatever the order: each row's loss is that of the model alone, where it stands still."""
    model, rows = gpt2(transformers), text(9, 3)
    args = arguments(transformers, tmp_path, learning_rate=0.0, num_train_epochs=1)
    trainer = run(model, tmp_path, rows, args=args, trusted_dataset=text(4, 2), unit=unit, engine="double")
    found = trainer.weights()
    assert found["index"].tolist() == list(range(9))
    with torch.no_grad():
        for row, loss in zip(rows, found["loss"], strict=True):
            one = {name: torch.tensor([row[name]]) for name in ("input_ids", "attention_mask", "labels")}
            assert float(model.eval()(**one).loss) == pytest.approx(loss, rel=1e-5)
    suspects = trainer.suspects()
    assert suspects["mean_weight"].is_monotonic_increasing
    assert set(suspects["index"]) == set(range(9))
    lines = (tmp_path / "weights.csv").read_text().splitlines()
    assert len(lines) == 10
    assert lines[1].startswith("training data,1,,0,")
    assert torch.equal(mw.RunFolder(tmp_path).read_weights().weights, trainer.weighing.history.weights)


def test_logs_and_evaluations(tmp_path: Path) -> None:
    args = arguments(transformers, tmp_path, eval_strategy="epoch", bf16=True, gradient_checkpointing=True)
    rows = text(8, 1)
    trainer = run(
        gpt2(transformers),
        tmp_path,
        rows,
        args=args,
        trusted_dataset=text(4, 2),
        eval_dataset=rows,
        engine="double",
    )
    steps = [row for row in trainer.state.log_history if "loss" in row]
    assert len(steps) == 4
    assert all({"weight_mean", "meta_loss", "unweighted_loss"} <= row.keys() for row in steps)
    assert sum("eval_loss" in row for row in trainer.state.log_history) == 2
    assert trainer.weighing.reweighter.windows == 4


def test_numbers_and_several_labels(tmp_path: Path) -> None:
    """Regression and yes or no: the losses are found, and are those of the Trainer."""
    for labels, options in (([0.5], {"num_labels": 1}), ([1.0, 0.0, 1.0], {"num_labels": 3})):
        torch.manual_seed(0)
        model = bert(transformers, **options)
        rows = [{**row, "labels": labels if len(labels) > 1 else labels[0]} for row in text(6, 1, "class")]
        args = arguments(transformers, tmp_path, num_train_epochs=1)
        trainer = run(model, tmp_path, rows, args=args, trusted_dataset=rows[:3], engine="double")
        taken = "Jury" if len(labels) > 1 else "Evidence"
        assert type(trainer.weighing.reweighter.teacher).__name__ == taken
        assert trainer.weights()["mean_weight"].notna().all()


def test_suspects_and_page_show_texts_and_names_of_classes(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    rows = Dataset.from_list(text(12, 1, "class"))
    rows = rows.cast_column("labels", ClassLabel(names=["news", "sport", "arts"]))
    rows = rows.add_column("index", [f"text {number}" for number in range(12)])
    rows = rows.add_column("year", list(range(2000, 2012))).with_format("torch")
    args = arguments(transformers, tmp_path)
    trainer = run(bert(transformers), tmp_path, rows, args=args, trusted_dataset=rows, engine="double")
    suspects = trainer.suspects()
    own = ["note", "own_index", "year"]
    assert list(suspects)[:6] == ["index", *own, "given_label", "suggested_label"]
    assert suspects["year"].dtype.kind == "i"  # no tensors
    assert suspects["year"].tolist() == (suspects["index"] + 2000).tolist()
    for row in suspects.to_dict("records"):
        assert row["own_index"] == f"text {row['index']}"
        assert row["given_label"] == rows.features["labels"].int2str(int(rows[row["index"]]["labels"]))
    assert set(suspects["suggested_label"]) <= {"news", "sport", "arts"}
    assert suspects["share"].between(1 / 3, 1).all()
    page = trainer.report(tmp_path / "page.html").read_text()
    assert (tmp_path / "report.html").is_file()
    for shown in ("text 7", "sport", "rows.csv", "BertForSequenceClassification"):
        assert shown in page
    assert Suspects(mw.RunFolder(tmp_path).read_weights()).order.tolist() == suspects["index"].tolist()


def test_names_of_classes_may_be_the_models(tmp_path: Path) -> None:
    model = bert(transformers)
    model.config.id2label = {0: "news", 1: "sport", 2: "arts"}
    args = arguments(transformers, tmp_path, num_train_epochs=1)
    trainer = run(model, tmp_path, text(6, 1, "class"), args=args, teacher="uniform")
    assert set(trainer.suspects()["given_label"]) <= {"news", "sport", "arts"}
    trainer = run(gpt2(transformers), tmp_path, text(6, 1), args=args, teacher="uniform")
    assert list(trainer.suspects()) == ["index", "mean_weight", "loss", "is_suspect"]
    assert trainer.weighing.seed == args.seed == 42
    main(["suspects", str(tmp_path), "--out", str(tmp_path / "list.csv")])
    assert len((tmp_path / "list.csv").read_text().splitlines()) == 7


def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    args = arguments(transformers, tmp_path, num_train_epochs=1, per_device_train_batch_size=2)
    rows = text(6, 1)
    rows[4]["labels"] = [-100] * 7
    with pytest.raises(ValueError, match="rows 4 have no label that counts"):
        run(llama(transformers), tmp_path, rows, args=args, teacher="uniform")
    run(llama(transformers), tmp_path, rows, args=args, teacher="uniform", unit="token")


def doubled(outputs: Any, targets: Tensor) -> Tensor:
    return 2 * CASES["gpt2"].losses(outputs, targets)


def test_what_is_refused(tmp_path: Path) -> None:
    args = arguments(transformers, tmp_path, max_steps=1)
    rows, model = text(8, 1), gpt2(transformers)
    build = mw.huggingface.ReweightingTrainer
    with pytest.raises(ValueError, match=r"surely right: give a trusted data set"):
        run(model, tmp_path, rows, args=args)
    with pytest.raises(ValueError, match="unit is 'sequence' or 'token'"):
        build(model, args, train_dataset=rows, unit="word")
    with pytest.raises(TypeError, match="training data set has a length"):
        build(model, args, train_dataset=iter(rows))
    with pytest.raises(ValueError, match="compute_loss_func gives one number"):
        build(model, args, train_dataset=rows, compute_loss_func=lambda *_, **__: torch.zeros(()))
    compiled = arguments(transformers, tmp_path, torch_compile=True)
    with pytest.raises(ValueError, match="give torch_compile=False"):
        build(model, compiled, train_dataset=rows)
    several = arguments(transformers, tmp_path)
    several._n_gpu = 2
    with pytest.raises(mw.MetaweightError, match=r"2 devices are visible.*CUDA_VISIBLE_DEVICES=0"):
        build(model, several, train_dataset=rows)
    with pytest.raises(mw.MetaweightError, match="before the first step"):
        build(model, args, train_dataset=rows).suspects()

    class Twice(transformers.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().compute_loss(*args, **kwargs)

    twice = mw.huggingface.reweighting(Twice)
    with pytest.raises(ValueError, match="it trains on more, or on something else"):
        twice(model, args, train_dataset=rows, teacher="uniform").train()
    twice(model, args, train_dataset=rows, teacher="uniform", loss=doubled).train()

    class Loaded(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return transformers.Trainer.get_train_dataloader(self)

    class Wrong(Loaded, mw.huggingface.ReweightingTrainer):
        pass

    with pytest.raises(mw.MetaweightError, match="put ReweightingMixin first"):
        Wrong(model, args, train_dataset=rows, teacher="uniform").train()
    saved = arguments(transformers, tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    transformers.Trainer(model, saved, train_dataset=rows).train()
    with pytest.raises(mw.MetaweightError, match=r"has no metaweight\.pt"):
        run(model, tmp_path, rows, args=args, teacher="uniform", resume=str(tmp_path / "checkpoint-1"))
