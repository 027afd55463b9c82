"""Lesions of a bank: cut out, given new shapes, placed in a host and blended into it."""
