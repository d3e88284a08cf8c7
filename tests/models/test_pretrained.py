"""Hugging Face folders as students: padding reaches no output, and texts are as long as models take."""

import json
from pathlib import Path

import pytest
import torch
from tiny_folders import folder_of

import metaweight as mw
from metaweight.data.text.tokenized import tokenized_texts
from metaweight.models.pretrained import load_classifier, load_tokenizer, longest_input, pretrained_time_axes
from metaweight.models.stacks import last_layers
from metaweight.student.losses import cross_entropy

LONG = " and ".join(["apple", "saw"] * 20)


@pytest.mark.parametrize(
    ("family", "options"),
    [("Bert", {}), ("Roberta", {"pad_token_id": 0}), ("GPT2", {}), ("GPT2", {"pad_token_id": 7})],
)
def test_padding_reaches_no_output_or_tap_of_a_classifier(family: str, options: dict, tmp_path: Path) -> None:
    name = f"path:{folder_of('SequenceClassification', tmp_path / 'm', family, **options)}"
    tokenizer = load_tokenizer(name)
    rows = tokenized_texts(tokenizer, [["a saw", "apple and pear and plum"]], 12)
    torch.manual_seed(0)
    module = load_classifier(name, 2, tokenizer.pad_token_id).double().eval()
    student = mw.Student(module, cross_entropy, taps=last_layers(module), time_axes=pretrained_time_axes)
    targets = torch.tensor([0, 1])
    both = student(mw.Batch(rows.select(torch.arange(2)), targets, torch.arange(2)))
    alone = student(mw.Batch(rows.select(torch.tensor([0])), targets[:1], torch.tensor([0])))
    assert both.features.keys() == alone.features.keys() != set()
    for tap, values in alone.features.items():
        torch.testing.assert_close(both.features[tap][:1], values, rtol=0, atol=1e-12)
    torch.testing.assert_close(both.outputs[:1], alone.outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(both.loss[:1], alone.loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "limit", "asked", "longest"),
    [
        ("Bert", 12, 256, 12),
        ("Bert", None, 256, 16),
        ("Bert", None, 9, 9),
        ("GPT2", None, 256, 16),
        ("Roberta", None, 256, 13),  # of 16 positions those up to the padding's, 2, are nobody's
        ("XLNet", None, 20, 20),  # of any length
    ],
)
def test_a_text_is_as_long_as_tokenizer_and_model_take(
    family: str, limit: int | None, asked: int, longest: int, tmp_path: Path
) -> None:
    options = {"pad_token_id": 2} if family == "Roberta" else {}
    name = f"path:{folder_of('SequenceClassification', tmp_path / 'm', family, limit=limit, **options)}"
    tokenizer = load_tokenizer(name)
    assert longest_input(name, tokenizer, asked) == longest
    rows = tokenized_texts(tokenizer, [[LONG]], longest)
    found = load_classifier(name, 2, tokenizer.pad_token_id)(**rows.select(torch.tensor([0])))
    assert found.logits.shape == (1, 2)


def read_whole(name: str) -> None:
    longest_input(name, load_tokenizer(name), 9)
    load_classifier(name, 2, 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "the folder has no model that can be read: Unrecognized model"),
        ({"model_type": "none-such"}, "the folder has no model that can be read: .*none-such"),
        (
            {"intermediate_size": 20},
            r"dense.* is \[12\] in its file and \[20\] by config.json: save model and",
        ),
    ],
)
def test_a_config_that_is_not_the_models_is_said(config: dict, message: str, tmp_path: Path) -> None:
    place = folder_of("SequenceClassification", tmp_path / "m")
    file = place / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config} if config else {}))
    with pytest.raises(ValueError, match=rf"path:.*: .*{message}"):
        read_whole(f"path:{place}")


def test_a_file_of_weights_that_broke_off_is_said(tmp_path: Path) -> None:
    place = folder_of("SequenceClassification", tmp_path / "m")
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"path:.*: the folder has no model that can be read: "):
        read_whole(f"path:{place}")
