"""The parts of ``medaug assess``."""
