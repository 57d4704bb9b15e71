"""The clock of every script: systems take turns, so that what else the machine does slows all of them alike."""

from seqdistill.runtime.latency import Turn, by_name, medians, ratios, rounds

__all__ = ["Turn", "by_name", "medians", "ratios", "rounds"]
