"""Checks of a finished dataset, one function each; :mod:`medaug.ingest.battery` runs them."""
