"""A seeded cohort of made-up chests: what the demo and the tests run on; nobody's scan is in it."""
