"""Distill sequence-to-sequence models: from a large teacher to the best small student for a latency budget."""

__version__ = "0.1.0"
