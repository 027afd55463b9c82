"""What generators that train have in common: patches, the coarse lesion, and the layers of their networks."""
