"""One script a figure. `python -m benchmarks` runs all; results lie in benchmarks/results/."""
