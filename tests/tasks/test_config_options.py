"""Options of runs: the same functions for every task's config, and mistakes in words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from metaweight.tasks import tasks
from metaweight.tasks.config import (
    ImageConfig,
    RunConfig,
    TranslationConfig,
    config_from,
    kept_options,
    with_options,
)


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_has_a_config_that_survives_a_manifest(name: str) -> None:
    kind = tasks[name].config
    config = kind()  # a default for every option
    assert issubclass(kind, RunConfig)
    assert config.task == name
    changed = with_options(config, {"lr_milestones": [2, 4], "betas": [0.9, 0.98], "taps": ["a"]})
    assert type(changed) is kind
    assert (changed.lr_milestones, changed.betas, changed.taps) == ((2, 4), (0.9, 0.98), ("a",))
    assert config_from(kind, json.loads(json.dumps(dataclasses.asdict(changed)))) == changed
    with pytest.raises(TypeError, match=r"a run has no option 'epoch'\. Did you mean 'epochs'"):
        config_from(kind, {"epoch": 3})
    with pytest.raises(TypeError, match="no option 'task'"):
        with_options(config, {"task": name})
    with pytest.raises(ValueError, match=r"run/manifest\.json is damaged, or .* no option 'epoch'"):
        config_from(kind, {"epoch": 3}, Path("run/manifest.json"))
    with pytest.raises(ValueError, match="option seed of a run is at most 9,007,199,254,740,992, got 1000"):
        kind(seed=10**30)


@pytest.mark.parametrize("center", [True, False, "class", None])
def test_a_centre_is_a_truth_value_or_a_word(center: object) -> None:
    assert with_options(ImageConfig(), {"center": center}).center == center


def test_a_config_knows_only_its_own_tasks_options() -> None:
    assert with_options(ImageConfig(), {"imbalance": "step"}).imbalance == "step"
    assert "imbalance" not in {field.name for field in dataclasses.fields(RunConfig)}


def test_a_manifest_of_the_first_runs_spells_options_as_the_command_line_does() -> None:
    old = {"model_options": ["width=4", "norm=group"], "taps": ["a=b"], "epochs": 3}
    today = {"model_options": {"width": 4, "norm": "group"}, "taps": ["a=b"], "epochs": 3}
    assert kept_options(old) == today
    assert config_from(ImageConfig, old) == config_from(ImageConfig, today)
    with pytest.raises(TypeError, match="model_options of a run is Mapping"):
        with_options(ImageConfig(), old)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_tokens": "None"}, r"max_tokens of a run is int \| None, got 'None'.*null for None"),
        (
            {"model_options": "dropout=0.1"},
            r"model_options of a run is Mapping\[str, Any\], got 'dropout=0.1'",
        ),
        ({"model_options": {1: 2}}, r"model_options of a run is Mapping\[str, Any\], got {1: 2}"),
        ({"unroll": 2.0}, "unroll of a run is int, got 2.0"),
        ({"epochs": 2.5}, "epochs of a run is int, got 2.5"),
        ({"epochs": True}, "epochs of a run is int, got True"),
        ({"joint_vocab": 1}, "joint_vocab of a run is bool, got 1"),
        ({"betas": [0.9]}, r"betas of a run is tuple\[float, float\], got \[0.9\]"),
        ({"betas": [0.9, "b"]}, r"betas of a run is tuple\[float, float\], got \[0.9, 'b'\]"),
        ({"lr": "fast"}, "lr of a run is float, got 'fast'"),
        ({"model": None}, "model of a run is str, got None"),
        ({"center": "clas"}, r"center of a run is bool \| 'class' \| None, got 'clas'"),
        ({"center": 1}, r"center of a run is bool \| 'class' \| None, got 1"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_the_option(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        config_from(TranslationConfig, options)


def test_values_that_fit_pass() -> None:
    options = {"lr": 1, "max_tokens": None, "betas": [0, 0.98], "columns": ["de", "en"], "taps": []}
    config = config_from(TranslationConfig, options)
    assert (config.lr, config.max_tokens, config.betas, config.columns, config.taps) == (
        1,
        None,
        (0, 0.98),
        ("de", "en"),
        (),
    )


def test_a_run_on_own_data_of_before_the_option_drew_its_trusted_rows() -> None:
    for data, drawn in (("hf:mine", True), ("digits", False)):
        assert config_from(ImageConfig, {"data": data}).meta_from_train is drawn
        assert config_from(ImageConfig, {"data": data, "meta_from_train": False}).meta_from_train is False
    assert config_from(TranslationConfig, {"data": "tsv:a.tsv"}).meta_from_train
