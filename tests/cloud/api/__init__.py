"""Tests of the HTTP API, and of the commands that ask it."""
