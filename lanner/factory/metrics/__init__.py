"""Measures of detectors: plain functions of arrays, lines and graphs."""
