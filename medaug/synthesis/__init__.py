"""What to draw, where, and how it gets into the host."""
