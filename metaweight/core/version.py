"""The version, where a room can read it before the front door has opened."""

__version__ = "0.1.0"
