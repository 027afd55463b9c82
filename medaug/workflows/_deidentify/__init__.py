"""The parts of ``medaug deidentify``."""
