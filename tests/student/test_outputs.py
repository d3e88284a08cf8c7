"""Where the logits are in outputs, and what inputs a batch may have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from output_forms import FORMS, Both, Encoding, formed, logits_of, named_batch
from torch import Tensor, nn

import metaweight as mw
from metaweight.student.outputs import logits_in
from metaweight.student.structure import map_tensors, tensors_in

LOGITS, HIDDEN = torch.randn(4, 3), torch.randn(4, 5)


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_found(form: str) -> None:
    outputs = FORMS[form](LOGITS, HIDDEN)
    assert logits_in(outputs) is LOGITS
    student, batch = mw.Student(formed(form), taps=("first",)), named_batch(4, 1)
    state = student(batch).state()
    assert torch.equal(state.outputs, logits_of(student.module(**batch.inputs)))
    assert student.spec(batch).classes == 3


@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_mapped_in_every_form(form: str) -> None:
    outputs = FORMS[form](LOGITS, HIDDEN)
    changed = map_tensors(lambda value: value + 1, outputs)
    assert type(changed) is type(outputs)
    before, after = tensors_in(outputs), tensors_in(changed)
    assert any(value is LOGITS for value in before)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new, old + 1)
    assert torch.equal(logits_of(changed), LOGITS + 1)
    assert torch.equal(logits_of(outputs), LOGITS)


def test_logits_are_named() -> None:
    outputs = {"start": LOGITS, "end": HIDDEN}
    assert logits_in(outputs) is None
    assert logits_in(outputs, "end") is HIDDEN
    assert logits_in((LOGITS, HIDDEN), 1) is HIDDEN
    assert logits_in((LOGITS, HIDDEN), -1) is HIDDEN
    with pytest.raises(KeyError, match=r"logits='star' .*Did you mean 'start'\? Known: end, start"):
        logits_in(outputs, "star")
    with pytest.raises(KeyError, match=r"logits=2 .*tuple.*Known: -1, -2, 0, 1"):
        logits_in((LOGITS, HIDDEN), 2)
    with pytest.raises(TypeError, match=r"logits='start' .* is str, not a tensor"):
        logits_in({"start": "x"}, "start")


def test_our_own_losses_say_what_they_need() -> None:
    class Two(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return Both(start=super().forward(x), end=-super().forward(x))

    batch = mw.Batch((torch.randn(4, 2),), torch.tensor([0, 1, 2, 0]), torch.arange(4))
    with pytest.raises(TypeError, match=r"gives Both with 'start', 'end' where logits .*logits=\"name\""):
        mw.Student(Two(2, 3)).spec(batch)
    module = Two(2, 3)
    state = mw.Student(module, logits="end")(batch).state()
    assert torch.equal(state.outputs, module(*batch.args)["end"])
    assert torch.equal(state.loss, F.cross_entropy(state.outputs, batch.targets, reduction="none"))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (F.cross_entropy, r"shape \[4\], got \(\), one number for the whole batch.*reduction='none'"),
        (
            lambda out, y: F.mse_loss(out, y.double(), reduction="none"),
            r"\[4\], got \(4, 4\): outputs \(4, 1\) and targets \(4,\) were broadcast.*squeeze\(1\)",
        ),
        (lambda out, y: out.expand(4, 3), r"got \(4, 3\).*flatten\(1\)\.mean\(1\)"),
        (lambda out, y: out.argmax(1), "is a floating tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_is_not_one_a_unit_is_told_why(loss: Any, message: str) -> None:
    module = nn.Linear(2, 1).double()
    batch = mw.Batch((torch.randn(4, 2).double(),), torch.zeros(4).long(), torch.arange(4))
    with pytest.raises(ValueError, match=message):
        mw.Student(module, loss=loss).spec(batch)


def test_inputs_by_name_are_kept_as_a_dict() -> None:
    batch = named_batch(4, 1)
    assert type(batch.inputs) is dict
    assert batch.args == ()
    assert batch.call(lambda **kw: sorted(kw)) == ["factor", "scale", "x"]
    nested = mw.Batch({"x": [torch.zeros(1)], "n": 3}, torch.zeros(4), torch.arange(4)).to("meta")
    assert nested.kwargs["x"][0].device.type == "meta"
    some = batch.rows(torch.tensor([2, 0]))
    assert torch.equal(some.kwargs["x"], batch.kwargs["x"][[2, 0]])
    assert some.kwargs["scale"] is batch.kwargs["scale"]
    assert some.index.tolist() == [102, 100]


def test_a_batch_refuses_what_it_cannot_hold() -> None:
    index = torch.arange(4)
    with pytest.raises(ValueError, match=r"4 samples, inputs\['x'\] has shape \(3, 2\)"):
        mw.Batch({"x": torch.zeros(3, 2)}, torch.zeros(4), index)
    with pytest.raises(ValueError, match=r"4 samples, inputs\[0\] has shape \(1, 2\)"):
        mw.Batch((torch.zeros(1, 2),), torch.zeros(4), index)
    with pytest.raises(TypeError, match="names as keys, got 3"):
        mw.Batch({3: torch.zeros(4)}, torch.zeros(4), index)
    with pytest.raises(TypeError, match=r"tuple .* or a mapping of keyword arguments, got Tensor"):
        mw.Batch(torch.zeros(4), torch.zeros(4), index)
    with pytest.raises(TypeError, match=r"targets is a tensor \[U, ...\], got list of str; map labels"):
        mw.Batch((torch.zeros(4),), ["cat", "dog", "cat", "dog"], index)


def test_samples_by_name_are_collated() -> None:
    rows = [
        (Encoding(ids=[i, 2, 3], mask=torch.tensor([1, 1, 0]), text=f"line {i}"), i % 2) for i in range(4)
    ]
    indexed = mw.data.Indexed(rows)
    batch = mw.data.collate([indexed[i] for i in (3, 1)])
    assert batch.kwargs["ids"].tolist() == [[3, 2, 3], [1, 2, 3]]
    assert batch.kwargs["mask"].shape == (2, 3)
    assert batch.kwargs["text"] == ["line 3", "line 1"]
    with pytest.raises(ValueError, match=r"inputs 'ids' of one batch have one shape.*pad them"):
        mw.data.collate([({"ids": [1]}, 0, 0), ({"ids": [1, 2]}, 0, 1)])
    with pytest.raises(ValueError, match="the same inputs by name"):
        mw.data.collate([({"ids": [1]}, 0, 0), ({"x": [1, 2]}, 0, 1)])
    with pytest.raises(TypeError, match=r"got (list|tuple) of str; map labels"):
        mw.data.collate([(torch.zeros(2), "cat", 0), (torch.zeros(2), "dog", 1)])
