"""Arms beside each other on the same bad data and the same seeds: the grid, its runs, tuned options.

It trains and keeps; what the runs say is the report's to read.
"""
