"""Weights, told apart by what they are."""

from __future__ import annotations

from medaug.engine.weights import state_sha256

__all__ = ["state_sha256"]
