"""Taps over token ids: padding is left out by the attention mask, or the tap is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw

IDS = torch.tensor([[3, 4, 5], [6, 0, 0], [7, 8, 0]])
MASK = (IDS != 0).long()


class Words(nn.Module):
    """Embeddings over time; the logits leave padding out."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = (input_ids != 0).to(self.head.weight) if attention_mask is None else attention_mask
        values = self.words(input_ids) * mask[..., None]
        return self.head(values.sum(1) / mask.sum(1, keepdim=True))


def student(**options: object) -> mw.Student:
    torch.manual_seed(0)
    return mw.Student(Words().double(), taps=("words",), **options)


def batch(inputs: object) -> mw.Batch:
    return mw.Batch(inputs, torch.tensor([0, 1, 2]), torch.arange(3))


def by_hand(module: nn.Module) -> Tensor:
    rows = [module.words.weight[ids[ids != 0]].mean(0) for ids in IDS]
    return torch.stack(rows).detach()


@pytest.mark.parametrize("mask", [MASK, MASK.bool(), MASK.to(torch.int32)])
def test_the_attention_mask_is_taken_by_itself(mask: Tensor) -> None:
    one = student()
    features = one(batch({"input_ids": IDS, "attention_mask": mask})).state().features["words"]
    torch.testing.assert_close(features, by_hand(one.module), rtol=1e-12, atol=0)


@pytest.mark.parametrize("inputs", [(IDS,), (IDS, MASK), {"input_ids": IDS}])
def test_without_one_the_tap_is_refused_with_what_to_give(inputs: object) -> None:
    with pytest.raises(ValueError, match=r"tap 'words' runs over time, \(3, 3, 4\).*time_axes=lambda"):
        student().spec(batch(inputs))
    one = student(time_axes=lambda _tap, given: mw.TimeAxis(given.args[0] != 0))
    if isinstance(inputs, tuple):
        features = one(batch(inputs)).state().features["words"]
        torch.testing.assert_close(features, by_hand(one.module), rtol=1e-12, atol=0)
    plain = student(time_axes=lambda _tap, _batch: None)
    mean = plain.module.words.weight[IDS].mean(1).detach()
    torch.testing.assert_close(plain(batch(inputs)).state().features["words"], mean)


def test_a_mask_of_another_length_does_not_count() -> None:
    class Doubled(Words):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return super().forward(input_ids.repeat(1, 2))

    one = mw.Student(Doubled(), taps=("words",))
    with pytest.raises(ValueError, match=r"runs over time, \(3, 6, 4\)"):
        one.spec(batch({"input_ids": IDS, "attention_mask": MASK}))


def test_real_numbers_over_time_stay_as_they_are() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Flatten(), nn.Linear(15, 3))
    values = mw.Student(module, taps=("0",))(batch((torch.randn(3, 3, 4),))).features["0"]
    assert values.shape == (3, 5)
    ids = {"x": torch.randn(3, 3, 4), "places": torch.arange(3)[None]}

    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = module

        def forward(self, x: Tensor, places: Tensor) -> Tensor:
            return self.body(x + places[..., None])

    assert mw.Student(Placed(), taps=("body.0",))(batch(ids)).features["body.0"].shape == (3, 5)
