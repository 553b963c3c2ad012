"""Scenes as ground pixels: opening, gridding, reading, normalising, blending. No torch here."""

import os

# Megabytes: GDAL's own default is a twentieth of the machine, on top of all else that is counted.
# It reads this once, before the first block of any file; who sets it outside keeps his own.
os.environ.setdefault("GDAL_CACHEMAX", "64")
