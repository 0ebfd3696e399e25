"""Tests of the doctor, against real broken things."""
