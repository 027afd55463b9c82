"""Counts in words, for messages that people read."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 case`` or ``3 cases``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
