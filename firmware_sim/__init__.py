"""Devices to test against: an independent witness that shares no code with what it tests."""
