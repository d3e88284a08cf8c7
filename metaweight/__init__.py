"""metaweight: learn a weight for every training sample from a small trusted set.

The public names are listed in ``__init__.pyi``; each is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
