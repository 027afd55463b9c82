"""The parts of the detection task that do not fit its public file."""
