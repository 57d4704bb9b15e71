"""Recipes and scripts of the papers' tables, run from the repository's root: python -m papers.lin2020.tables."""

import seqdistill  # noqa: F401 - says how OpenMP's threads wait, which torch reads when it is imported
