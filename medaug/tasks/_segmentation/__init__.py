"""The parts of the segmentation task that do not fit its public file."""
