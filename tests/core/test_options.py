"""Options by name and type, the same for every kind of part, and their spelling on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import pytest
import torch

import metaweight as mw
from metaweight import engines, remedies, teachers
from metaweight.core.options import checked_options, options_of, parse_options, spelt, spelt_options
from metaweight.models import build_model, models
from metaweight.models.translators import build_translator, translators
from metaweight.student.losses import build_loss, losses
from metaweight.tasks.config import ImageConfig

SPEC = mw.StateSpec(classes=3, features={"tap": 4})


def part(
    given: int,
    *,
    width: int = 4,
    rate: float = 0.1,
    label: bool = True,
    sizes: tuple[int, ...] = (),
    norm: Literal["batch", "none"] | None = None,
    free=None,  # type: ignore[no-untyped-def]
    **more: object,
) -> None:
    """Something that is built from options."""


def test_options_are_the_arguments_beside_those_of_the_caller() -> None:
    known = {"width": 4, "rate": 0.1, "label": True, "sizes": (), "norm": None, "free": None}
    assert options_of(part, beside=["given"]) == known
    assert options_of(partial(part, width=8), beside=["given"]) == {**known, "width": 8}


@pytest.mark.parametrize(
    ("option", "value", "taken"),
    [
        ("width", 3, 3),
        ("rate", 1, 1.0),
        ("label", False, False),
        ("sizes", [1, 2], (1, 2)),
        ("norm", None, None),
        ("norm", "batch", "batch"),
        ("free", object, object),
    ],
)
def test_a_value_that_fits_is_taken(option: str, value: object, taken: object) -> None:
    for one in (part, partial(part, width=8)):
        (got,) = checked_options("part 'x'", one, {option: value}, beside=["given"]).values()
        assert (got, type(got)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("width", "3", "option width of part 'x' is int, got '3'; on a command line values are JSON"),
        ("width", True, "option width of part 'x' is int, got True"),
        ("width", 2.0, "option width of part 'x' is int, got 2.0"),
        ("label", 1, "option label of part 'x' is bool, got 1"),
        ("rate", False, "option rate of part 'x' is float, got False"),
        ("sizes", [1, 2.5], r"option sizes of part 'x' is tuple\[int, ...\], got \[1, 2.5\]"),
        ("norm", "bach", r"option norm of part 'x' is 'batch' \| 'none' \| None, got 'bach'"),
        ("wdth", 3, "part 'x' has no option 'wdth'. Did you mean 'width'"),
        ("given", 3, "part 'x' has no option 'given'"),
        ("more", 3, "part 'x' has no option 'more'"),
    ],
)
def test_another_is_an_error_that_names_part_option_type_and_value(
    option: str, value: object, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        checked_options("part 'x'", part, {option: value}, beside=["given"])


def remedy(name: str, **options: Any) -> object:
    return remedies.build_remedy(ImageConfig(teacher="uniform", remedy=name, remedy_options=options))


BUILDS: list[tuple[str, Callable[..., object], Mapping[str, Mapping[str, Any]]]] = [
    (
        "teacher",
        lambda name, **options: mw.build_teacher(name, SPEC, **options),
        {name: teachers.options(name) for name in teachers.names()},
    ),
    (
        "engine",
        engines.build_engine,
        {name: engines.options(name) for name in engines.names()},
    ),
    ("loss", build_loss, {name: options_of(losses[name]) for name in losses.names()}),
    ("remedy", remedy, {name: remedies.remedy_options(name) for name in remedies.remedies.names()}),
    (
        "model",
        partial(build_model, classes=3, channels=1, size=8),
        {name: options_of(models[name], beside=["classes", "channels", "size"]) for name in models.names()},
    ),
    (
        "translator",
        partial(build_translator, source_size=9, target_size=9),
        {
            name: options_of(translators[name], beside=["source_size", "target_size"])
            for name in translators.names()
        },
    ),
]


@pytest.mark.parametrize(("kind", "build", "parts"), BUILDS, ids=[kind for kind, _, _ in BUILDS])
def test_every_part_checks_the_type_of_every_option(
    kind: str, build: Callable[..., object], parts: Mapping[str, Mapping[str, Any]]
) -> None:
    assert any(parts.values())
    for name, options in parts.items():
        for option in options:
            with pytest.raises(TypeError, match=f"option {option} of {kind} '{name}' is .*, got <object"):
                build(name, **{option: object()})


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int | None, "int | None"),
        (bool | Literal["class"] | None, "bool | 'class' | None"),
        (tuple[str, ...], "tuple[str, ...]"),
        (Mapping[str, Any], "Mapping[str, Any]"),
        (torch.Tensor, "Tensor"),
    ],
)
def test_a_type_is_spelt_as_in_source(hint: object, text: str) -> None:
    assert spelt(hint) == text


def test_values_on_a_command_line_are_json_or_else_text() -> None:
    pairs = ["width=64", "norm=batch", "a=[1, 2]", "b=x=y", "c=true", "d=null", 'e="1"']
    options = {"width": 64, "norm": "batch", "a": [1, 2], "b": "x=y", "c": True, "d": None, "e": "1"}
    assert parse_options(pairs) == options
    assert spelt_options(options) == pairs
    for pair in ("width", "=3"):
        with pytest.raises(ValueError, match=f"key=value, got {pair!r}"):
            parse_options([pair])
