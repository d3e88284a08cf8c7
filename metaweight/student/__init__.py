"""The student: a torch module with unit losses and taps, run on any parameters without touching its own.

``losses`` are its losses per unit, ``execution`` how it is run: precision, memory layout, compilation.
"""

from metaweight.student.student import Student

__all__ = ["Student"]
