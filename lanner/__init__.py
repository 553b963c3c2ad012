"""Lanner finds objects in satellite imagery and hands over classified, measured features."""

__version__ = "0.1.0"
