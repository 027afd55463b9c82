"""The parts of de-identification: the table, the stream of elements, and what becomes of each."""
