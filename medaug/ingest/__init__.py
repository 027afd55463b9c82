"""Folders of scans into a dataset folder: find, pair, check, split."""
