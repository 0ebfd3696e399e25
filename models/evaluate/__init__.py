"""Published benchmarks, by their own protocols: how good what we train is where everyone can check it."""
