"""``python -m metaweight.cli``."""

import sys

from metaweight.cli.main import main

sys.exit(main())
