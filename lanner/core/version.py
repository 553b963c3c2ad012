"""The version of Lanner: one place, read by the program, manifests and records."""

__version__ = "0.1.0"
