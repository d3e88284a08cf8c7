"""The data sets of the benchmarks that come as files of one layout; importing this registers them.

Grid files name it with ``imports = ["benchmarks.data"]``; elsewhere it is ``--import benchmarks.data`` or
METAWEIGHT_IMPORT=benchmarks.data, from the root of a checkout.  METAWEIGHT_DATA names the folder.
"""

from benchmarks.data import cifar10, sentence_pairs  # noqa: F401 - each registers its sets
