"""Step evaluate: predictions of the test images, calibration, figures, a report."""
