"""``python -m metaweight``, and ``torchrun -m metaweight``."""

import sys

from metaweight.cli.main import main

sys.exit(main())
