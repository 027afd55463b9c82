"""What predictions are scored by, with an explicit rule for empty references."""
