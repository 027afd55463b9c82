"""What a workflow hands to the CLI."""

from __future__ import annotations

from medaug.core.config import Frozen


class Summary(Frozen):
    """The outcome of a workflow: printed as JSON with ``--json``, else as :meth:`lines`."""

    def lines(self) -> tuple[str, ...]:
        """The summary in short lines for a person."""
        raise NotImplementedError
