"""A call of deidentify and what it left, for tests of DICOM and of NIfTI files."""

from pathlib import Path

from medaug.core.certificate import ReportLine
from medaug.core.runs import NoProgress
from medaug.workflows.deidentify import DeidentifyOptions, DeidentifySummary, deidentify


def options_for(source: Path, /, **changes: object) -> DeidentifyOptions:
    """Output, key and report beside the source."""
    place = source.parent
    values: dict[str, object] = {"source": source, "out": place / "out", "key_file": place / "key"}
    values |= {"report": place / "report.jsonl"} | changes
    return DeidentifyOptions.model_validate(values)


def run(options: DeidentifyOptions) -> DeidentifySummary:
    """Clean, without a progress bar."""
    return deidentify(options, NoProgress())


def report_lines(options: DeidentifyOptions) -> list[ReportLine]:
    """What the report says, in its order."""
    assert options.report is not None
    return [ReportLine.model_validate_json(line) for line in options.report.read_text("utf-8").splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
