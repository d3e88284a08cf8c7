"""Engine ``ghost``: every sample's share in the gradient, from where the parameters meet the batch.

``layers`` and ``functions`` hold the rules, ``contacts`` the way without one; ``watch`` finds the places.
"""

from metaweight.engines.ghost.calls import LayerCalls
from metaweight.engines.ghost.engine import Ghost, Shares
from metaweight.engines.ghost.first_order import FirstOrder, FirstOrderWarning
from metaweight.engines.ghost.layers import register_layer_rule
from metaweight.engines.ghost.rows import Rows
from metaweight.engines.ghost.shares import LinearWeight, PerUnit, Share

__all__ = [
    "FirstOrder",
    "FirstOrderWarning",
    "Ghost",
    "LayerCalls",
    "LinearWeight",
    "PerUnit",
    "Rows",
    "Share",
    "Shares",
    "register_layer_rule",
]
