"""metaweight: learn a weight for every training sample from a small trusted set.

The public names are listed in ``__init__.pyi``; each is imported when it is first asked for.  Those that take
another library beside torch are left out of ``from metaweight import *``.
"""

import lazy_loader

_BESIDE_TORCH = (
    "Fit",
    "Loop",
    "ReweightedClassifier",
    "ReweightedRegressor",
    "fit",
    "huggingface",
    "lightning",
    "load_checkpoint",
    "rate",
    "save_checkpoint",
)
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [name for name in _names if name not in _BESIDE_TORCH]
