"""The data sets of the benchmarks that come as files of one layout; importing this registers them.

``metaweight ... --import benchmarks.data --data cifar10`` from the root of a checkout, with METAWEIGHT_DATA
naming the folder of the files.
"""

from benchmarks.data import cifar10, sentence_pairs  # noqa: F401 - each registers its sets
