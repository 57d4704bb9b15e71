"""What `benchmarks/robustness.py` tries: command lines, interruptions, kills, full disks."""
