"""The AI factory: from a folder of images to a released detector, one YAML file for all steps."""
