"""The options of own data: which go together, whatever the task."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from metaweight.tasks.config import OwnData, check_own


@dataclass(frozen=True, kw_only=True)
class Config(OwnData):
    task: ClassVar[str] = "anything"
    data: str = "usual"
    meta_size: int = 10
    valid_size: int = 10
    model: str = "m"
    teacher_lr: float = 0.1
    epochs: int = 1
    warmup_epochs: int = 0
    batch_size: int = 2
    meta_batch_size: int = 2
    optimizer: str = "sgd"
    lr: float = 0.1
    lr_schedule: str = "constant"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": "other", "meta_size": 5},
        {"train": "a.csv", "meta": "b.csv"},
        {"train": "a.csv", "meta_column": "checked", "label": "y", "valid": "v.csv", "test": "t.csv"},
        {"train": "a.csv", "meta_from_train": True, "meta_size": 5, "valid_size": 5},
        {"train": "a.csv"},  # whether trusted rows are needed is the teacher's matter
    ],
)
def test_options_that_go_together(options):
    check_own(Config(**options))


@pytest.mark.parametrize("option", ["meta", "valid", "test", "label", "meta_column"])
def test_own_data_need_train(option):
    with pytest.raises(ValueError, match=f"^{option} goes with train"):
        check_own(Config(**{option: "x"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "other"}, "data names a data set, train your own data"),
        ({"meta": "m.csv", "meta_column": "checked"}, "meta and meta_column both name"),
        ({"meta": "m.csv", "meta_from_train": True}, "meta_from_train has no meaning beside meta,"),
        ({"meta": "m.csv", "meta_size": 5}, "meta_size has no meaning beside meta,"),
        ({"meta_column": "ok", "valid_size": 5}, "valid_size has no meaning beside meta_column,"),
        ({"valid": "v.csv", "valid_size": 5}, "valid_size has no meaning beside valid,"),
    ],
)
def test_options_that_contradict(options, message):
    with pytest.raises(ValueError, match=message):
        check_own(Config(train="a.csv", **options))


def test_own_names_the_parts_in_order():
    config = Config(train="a.csv", test="t.csv", meta="m.csv")
    assert list(config.own.items()) == [("train", "a.csv"), ("meta", "m.csv"), ("test", "t.csv")]
    assert not Config().own
    assert set(config.own) < set(config.places)
