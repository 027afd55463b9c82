"""Parts of the ``procedural`` generator."""
