"""The report of a batch: one HTML page that needs nothing beside it."""

from lanner.archives.report.write import Chip, write_report

__all__ = ["Chip", "write_report"]
