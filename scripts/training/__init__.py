"""Plain training code for the two shipped detectors."""
