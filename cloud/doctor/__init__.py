"""`gaugeline cloud doctor`: checks a configuration and its surroundings, and leaves a running host alone."""
