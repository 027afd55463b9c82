"""What may be released, de-identified or defaced, and the proof of it."""
