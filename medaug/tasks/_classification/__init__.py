"""The parts of the classification task that do not fit its public file."""
