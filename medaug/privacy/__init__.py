"""What may leave the house, and the proof of it."""
