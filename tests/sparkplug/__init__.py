"""Tests that follow the requirement ids of the Sparkplug B 3.0 specification."""
