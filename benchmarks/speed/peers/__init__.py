"""Other libraries, each taking the classical MW-Net iteration; imported where they are installed."""

from benchmarks.speed.peers.base import Gradient, Peer, Step, Task, load, peers, versions

__all__ = ["Gradient", "Peer", "Step", "Task", "load", "peers", "versions"]
