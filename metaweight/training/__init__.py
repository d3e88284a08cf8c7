"""A whole training run: epochs, learning rates, evaluation, what is watched, and the folder it is kept in.

It has no maths of its own: each step is the Reweighter's.
"""
