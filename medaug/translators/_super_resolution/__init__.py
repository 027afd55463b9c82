"""Parts of the super-resolution translator."""
