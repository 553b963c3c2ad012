"""Scenes as ground pixels: opening, gridding, reading, normalising, blending. No torch here."""
