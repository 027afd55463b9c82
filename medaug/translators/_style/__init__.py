"""Parts of the style translator."""
