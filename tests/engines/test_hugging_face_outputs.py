"""A Hugging Face model as it comes: a BatchEncoding in, a ModelOutput out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hugging_face_models import bert

import metaweight as mw
from metaweight.testing.oracles import RealSteps, relative

transformers = pytest.importorskip("transformers")
IDS = torch.tensor([[3, 4, 5, 6], [6, 7, 0, 0], [7, 8, 9, 0], [5, 0, 0, 0]])
WEIGHTS = torch.tensor([0.5, 1.5, 1.0, 0.8]).double()


def batch(seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    ids = torch.where(IDS != 0, torch.randint(1, 12, IDS.shape, generator=g), 0)
    encoded = transformers.BatchEncoding({"input_ids": ids, "attention_mask": (ids != 0).long()})
    return mw.Batch(encoded, torch.randint(0, 3, (4,), generator=g), torch.arange(4) + 10 * seed)


@pytest.mark.parametrize("engine", ["double", "forward", "difference", "auto"])
def test_a_bert_classifier_is_a_student(engine: str) -> None:
    torch.manual_seed(0)
    module = bert(transformers).double().train()
    student = mw.Student(module, taps=("bert.encoder.layer.0.output",))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    train, meta = batch(1), batch(2)
    state = student(train).state()
    assert torch.equal(state.outputs, module(**train.kwargs).logits)
    assert state.lengths["bert.encoder.layer.0.output"].tolist() == [4, 2, 3, 1]  # the mask was taken
    w = WEIGHTS.clone().requires_grad_()
    found = mw.hypergradient(student, optimizer, train, meta, lambda _s: w, [w], engine).grads[0]
    steps = RealSteps(
        student,
        optimizer,
        [train],
        meta,
        loss=lambda out, y: F.cross_entropy(out.logits, y, reduction="none"),
    )
    assert relative(found, steps.slopes([WEIGHTS])[0]) <= (1e-3 if engine == "difference" else 1e-6)
