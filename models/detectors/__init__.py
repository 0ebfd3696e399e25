"""Detectors: one file each, trained from normal operation, exported as one ONNX graph."""
