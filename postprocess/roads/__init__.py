"""The road chain: from a probability raster to a measured, classified network.

Raster steps (`threshold`, `clean`, `skeletonise`) hand a raster on under their own name; vector
steps (`trace` to `classify`) keep a network whose lines meet only at shared end points.
"""
