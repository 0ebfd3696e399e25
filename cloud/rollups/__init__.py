"""Roll-ups: which windows are to be computed, and who does it."""
