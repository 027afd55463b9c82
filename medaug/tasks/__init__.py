"""What a model is trained for: one public file each, found by its name."""
