"""Counts in words, for messages that people read."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 case`` or ``3 cases``; a plural of its own where an s does not make it."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
