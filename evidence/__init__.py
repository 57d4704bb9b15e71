"""From a measurement to a number in README and docs; only this repository needs it, and the wheel does not have it."""

import seqdistill  # noqa: F401 - says how OpenMP's threads wait, which torch reads when it is imported
