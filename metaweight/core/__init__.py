"""What every room agrees on: batches, states, reports; the registry, randomness, weights as numbers, files.

It knows no teacher, engine, task or remedy by name.
"""
