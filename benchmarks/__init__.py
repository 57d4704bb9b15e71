"""One script a claim about speed or robustness, run from the repository's root: python -m benchmarks.NAME."""

import seqdistill  # noqa: F401 - says how OpenMP's threads wait, which torch reads when it is imported
