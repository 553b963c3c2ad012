"""Archives: many scenes, one command."""
