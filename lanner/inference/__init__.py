"""From pixels to detections: engine, tiles, refinement, run folders, the pipeline."""
