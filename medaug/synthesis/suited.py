"""Which hosts a trained generator may draw into: those that are like the scans it has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medaug.core.case import CaseRecord
from medaug.core.errors import GeometryError
from medaug.core.findings import Code, Finding, finding
from medaug.generators.base import check_classes, check_host, read_card


def suited_hosts(
    generator: str, classes: tuple[str, ...], hosts: Sequence[CaseRecord]
) -> tuple[tuple[CaseRecord, ...], tuple[Finding, ...]]:
    """The hosts that a generator may draw into, and what is odd about them and the others.

    Args:
        generator: Run folder of ``medaug fit``, or a kind that is not trained, to which all hosts are alike.
        classes: Class table of the dataset.
        hosts: Cases that could take a lesion.

    Raises:
        CheckpointError: If the generator has learnt other classes, channels or units, or its card is damaged.
        GeometryError: If no host has a spacing anywhere near the learnt ones.
    """
    folder = Path(generator)
    if not folder.is_dir():
        return tuple(hosts), ()
    card = read_card(folder)
    check_classes(card, classes)
    kept: list[CaseRecord] = []
    findings: list[Finding] = []
    far: GeometryError | None = None
    for host in hosts:
        try:
            warning = check_host(card, host)
        except GeometryError as error:
            far = error
            findings.append(finding(Code.HOST_UNLIKE, "refused", error.line(), host.case_id))
            continue
        kept.append(host)
        if warning:
            findings.append(finding(Code.HOST_UNLIKE, "flagged", warning, host.case_id))
    if far is not None and not kept:
        raise far.located("every host")
    return tuple(kept), tuple(findings)
