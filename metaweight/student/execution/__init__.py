"""How a student's passes are run: precision, layout, compilation, and what one pass hands on to the next."""

from metaweight.student.execution.execution import Execution, keep_buffers
from metaweight.student.execution.layer_outputs import LayerOutputs

__all__ = ["Execution", "LayerOutputs", "keep_buffers"]
