"""The commands of the command line: each a dataclass of its options that is called to do its work.

``commands`` names them, ``main`` runs one.
"""
