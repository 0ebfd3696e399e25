"""Tests of roll-ups beside those of the contract of stores."""
