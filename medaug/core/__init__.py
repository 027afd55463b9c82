"""Types and rules every room shares; knows no torch, no file format and no terminal."""
