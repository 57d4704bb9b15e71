"""`python -m seqdistill`, and so `torchrun -m seqdistill train ...`."""

from seqdistill.cli import main

main()
