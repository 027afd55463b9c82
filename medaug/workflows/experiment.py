"""``medaug experiment``: wires bank, generators, transforms and task into the arms of an experiment."""

from __future__ import annotations

CONTEXT = "context.json"
