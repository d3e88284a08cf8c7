"""The pictures of the gallery, each made by one command: ``python -m docs.pictures NAME``."""
