"""Generators: each draws a lesion for a request; one public file each."""
