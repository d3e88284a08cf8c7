"""``teacher="auto"`` takes a teacher that can be built for what the student shows."""

from __future__ import annotations

import pytest

from metaweight.core.contracts import StateSpec
from metaweight.teachers import build_teacher
from metaweight.teachers.fitting import fitting
from metaweight.testing.states import class_spec, sentence_spec
from metaweight.testing.target_states import target_spec


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (class_spec(), "jury"),
        (class_spec(taps={}), "recall"),
        (target_spec("number"), "evidence"),
        (target_spec("number", features={}), "evidence"),
        (target_spec("soft"), "jury"),
        (target_spec("several", features={}), "recall"),
        (class_spec(target="other"), "self-paced"),
        (class_spec(tokens=True), "surface"),
        (sentence_spec(), "memory"),
        (sentence_spec(taps={"deep": 6}), "surface"),
    ],
)
def test_the_teacher_fits_what_the_student_shows(spec: StateSpec, name: str) -> None:
    assert fitting(spec).name == name
    build_teacher(name, spec)


def test_tokens_with_a_few_labels_are_compared_with_trusted_ones() -> None:
    assert fitting(class_spec(tokens=True), tagged=True).name == "memory"
    assert fitting(class_spec(tokens=True, taps={}), tagged=True).name == "surface"


def test_the_slopes_of_such_tokens_are_centred_within_each_label() -> None:
    assert build_teacher("auto", class_spec(tokens=True), tagged=True).centered == "class"
    assert build_teacher("auto", class_spec(tokens=True)).centered is True
    assert build_teacher("auto", class_spec(), tagged=True).centered is True
