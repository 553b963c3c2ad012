"""Rendered scenes and chips whose ground truth is exact."""
