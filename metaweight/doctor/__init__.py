"""What is known of an installation and of its machine: facts, traps, plug-ins and a self-test.

``examination.examine`` has all of it, ``metaweight doctor`` prints it.
"""
