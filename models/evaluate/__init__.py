"""Public benchmarks, run with the shipped runtime: one file each."""
