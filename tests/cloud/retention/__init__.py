"""Tests of cloud.retention."""
