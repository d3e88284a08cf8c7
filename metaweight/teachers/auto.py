"""``auto``: the teacher that fits a student, chosen when it is built."""

from __future__ import annotations

from metaweight.core.contracts import StateSpec
from metaweight.teachers.base import Teacher, register_teacher
from metaweight.teachers.fitting import fitting


@register_teacher("auto")
class Auto(Teacher):
    """The teacher that fits what the student shows, with its default options; see ``fitting``.

    One of ``jury``, ``memory``, ``evidence``, ``surface``, ``recall`` and ``self-paced``.  ``tagged``:
    whether tokens as units have labels of a few classes, and not words; its hypergradient is centred within
    each of these, for most tokens have one label, and a teacher that follows the balance of labels favours
    rare ones, wrong ones too, or gives one up.
    """

    sees = "states"
    trains_on_meta = True
    wants_meta = True

    def __new__(cls, spec: StateSpec, *, tagged: bool = False) -> Teacher:  # type: ignore[misc]
        teacher = fitting(spec, tagged=tagged).build(spec)
        if tagged and spec.tokens:
            teacher.centered = "class"
        return teacher
