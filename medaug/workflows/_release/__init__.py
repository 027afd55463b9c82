"""The parts of ``medaug release``."""
