"""Distill sequence-to-sequence models: from a large teacher to the best small student for a latency budget."""

__version__ = "0.1.0"

from seqdistill.threads import spin_briefly

spin_briefly()  # before anything here imports torch
