"""How a student's passes are run: precision, layout, compilation, and what one pass hands on to the next."""

from metaweight.execution.layer_outputs import LayerOutputs
from metaweight.execution.options import Execution

__all__ = ["Execution", "LayerOutputs"]
