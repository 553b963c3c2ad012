"""How the networks are trained: batches, losses, the loop. Imported by training alone."""
