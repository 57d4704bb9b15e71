"""The papers' own experiments, at a size that takes minutes."""
