"""Writes what the code already knows into the documentation: exit codes, JSON files, command line, augmentation.

    .venv/bin/python scripts/write_reference.py            # after a change of a model, an error or an option
    .venv/bin/python scripts/write_reference.py --check    # says which page is stale (a test calls this)

Prose stands in the page; what is generated stands between two marker lines.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from medaug.core import errors
from medaug.core.catalogue import CATALOGUE_FILE, read_catalogue

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "docs" / "reference"
START: Final = "<!-- generated: scripts/write_reference.py -->"
END: Final = "<!-- end of generated -->"

# File, the model that reads and writes it, who writes it.
DOCUMENTS: Final = (
    ("manifest.json", "medaug.core.case:Manifest", "`medaug ingest`, `medaug synthesize`"),
    ("findings.json", "medaug.core.case:FindingsFile", "`medaug ingest`"),
    ("inspection.json", "medaug.core.findings:Inspection", "`medaug inspect`"),
    ("splits.json", "medaug.core.splits:Splits", "`medaug split`"),
    ("plan.jsonl, one line", "medaug.core.plan:PlannedLesion", "`medaug synthesize`"),
    (
        "augmentations.jsonl of a set of copies, one line",
        "medaug.core.plan:AugmentedCopy",
        "`medaug augment`",
    ),
    (
        "augmentations.jsonl of a training, one line",
        "medaug.transforms:Drawn",
        "`medaug train`, `medaug experiment` (`record_augmentations`)",
    ),
    (
        "policy.json",
        "medaug.experiments.policy:PolicyReport",
        "`medaug train`, `medaug experiment` (`adaptive`)",
    ),
    ("recipes.jsonl, one line", "medaug.core.plan:Recipe", "`medaug synthesize`"),
    ("translations.jsonl, one line", "medaug.core.plan:Translation", "`medaug translate`"),
    ("results.json", "medaug.core.results:ExperimentResult", "`medaug experiment`"),
    ("context.json", "medaug.core.results:ExperimentContext", "`medaug experiment`"),
    ("the scores of an evaluation", "medaug.core.results:EvaluationResult", "`medaug evaluate`"),
    ("lesions.json", "medaug.core.candidates:LesionList", "`medaug predict` (classification, detection)"),
    ("the scores of a classification", "medaug.core.candidates:ClassificationResult", "`medaug evaluate`"),
    ("the scores of a detection", "medaug.core.candidates:DetectionResult", "`medaug evaluate`"),
    ("quality.json", "medaug.core.assessment:QualityReport", "`medaug assess`"),
    ("audit.json", "medaug.core.assessment:AuditReport", "`medaug assess`"),
    ("rejected.json", "medaug.core.assessment:RejectionsFile", "`medaug filter`"),
    ("the release certificate", "medaug.core.certificate:ReleaseCertificate", "`medaug release`"),
    ("defaced.json", "medaug.privacy.defaced:DefacedFile", "`medaug deface`"),
    (
        "deidentification.json",
        "medaug.workflows.deidentify:DeidentificationRecord",
        "`medaug deidentify`",
    ),
    (
        "the report of a de-identification, one line",
        "medaug.core.certificate:ReportLine",
        "`medaug deidentify --report`",
    ),
    ("run.json", "medaug.core.runs:RunRecord", "every step"),
    (
        "what a benchmark prints",
        "scripts.benchmarks.measure:BenchmarkResult",
        "`scripts/benchmarks/*.py --json`",
    ),
)


# Steps of augmentation in the order of a scan, by rank; limits are read off draws for a patch of this many mm a side.
FAMILIES: Final = (
    ("Geometry", (0,)),
    ("Contrast", (1,)),
    ("Detail", (2,)),
    ("What scanners do", (3, 4)),
    ("Noise", (5,)),
)
PATCH: Final = 100
DRAWS: Final = 1500


def load(address: str) -> Any:  # noqa: ANN401
    """The object at `package.module:name`."""
    module, name = address.split(":")
    return getattr(importlib.import_module(module), name)


def first_line(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n", maxsplit=1)[0]


# Exit codes


def exit_codes() -> str:
    """A table of the error tree."""
    rows = ["| exit code | error | meaning |", "|---|---|---|", "| 0 | | The step did what it was asked. |"]
    tree = sorted(_tree(errors.MedaugError), key=lambda row: row[0].exit_code)
    for kind, depth in tree:
        name = "&nbsp;" * 4 * max(0, depth - 1) + f"`{kind.__name__}`"
        rows.append(f"| {kind.exit_code} | {name} | {first_line(kind)} |")
    return "\n".join(rows)


def _tree(kind: type[errors.MedaugError], depth: int = 0) -> Iterator[tuple[type[errors.MedaugError], int]]:
    yield kind, depth
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child, depth + 1)


# JSON files


def json_files() -> str:
    """A section for every document, a table for every model in it."""
    parts, seen = [], set[str]()
    for title, address, writer in DOCUMENTS:
        model: type[BaseModel] = load(address)
        schema = model.model_json_schema(mode="serialization", by_alias=True)
        parts += [
            f"## {title}",
            f"Written by {writer}. Model: `{address.replace(':', '.')}`.",
            table(schema, schema),
        ]
        for name, inner in schema.get("$defs", {}).items():
            if name not in seen and "properties" in inner:
                parts += [f"### {name}", inner.get("description", "").split("\n")[0], table(inner, schema)]
            seen.add(name)
    return "\n\n".join(part for part in parts if part)


def table(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """One row a field: name, type, what it means; `whole` is the document that holds the definitions."""
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        rows.append(f"| `{name}` | {type_of(field, whole)} | {field.get('description', '')} |")
    return "\n".join(rows)


def type_of(field: dict[str, Any], whole: dict[str, Any]) -> str:
    """The type of a field in a few words: a model by its name, an enumeration by its values."""
    if "$ref" in field:
        name = str(field["$ref"]).rsplit("/", maxsplit=1)[-1]
        meant = whole["$defs"][name]
        return type_of(meant, whole) if "enum" in meant else name
    if "const" in field or "enum" in field:
        return ", ".join(f'"{value}"' for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(type_of(one, whole) for one in field["anyOf"]))
    if field.get("type") == "array":
        inner = field.get("items") or (field.get("prefixItems") or [{}])[0]
        count = f"{field['maxItems']} " if field.get("minItems") == field.get("maxItems", -1) else ""
        return f"list of {count}{type_of(inner, whole)}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {type_of(field['additionalProperties'], whole)}"
    return str(field.get("type", "any"))


# Command line


def command_line() -> str:
    """A section for every command: what it does, its arguments and options."""
    typer_main = importlib.import_module("typer.main")
    group = typer_main.get_command(load("medaug.cli.main:app"))
    parts = []
    for name, command in group.commands.items():
        text = inspect.cleandoc(command.help or "")
        parts += [f"## medaug {name}", prose(text), parameters(command)]
    return "\n\n".join(part for part in parts if part)


def prose(text: str) -> str:
    """A command's help: its words as words, its example lines as code."""
    lines = [line.replace("\b", "").rstrip() for line in text.splitlines()]
    out: list[str] = []
    for line in lines:
        is_example = line.strip().startswith(("$ ", "medaug "))
        out.append(f"```sh\n{line.strip().removeprefix('$ ')}\n```" if is_example else line.strip())
    return "\n".join(out).replace("\n```\n```sh\n", "\n")


def parameters(command: Any) -> str:  # noqa: ANN401
    """One row an argument or option."""
    rows = ["| | | default |", "|---|---|---|"]
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        is_argument = parameter.param_type_name == "argument"
        name = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
        default = "required" if parameter.required else show_default(parameter.default)
        rows.append(f"| `{name}` | {(getattr(parameter, 'help', None) or '').strip()} | {default} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def show_default(value: object) -> str:
    """A default as a user would type it; nothing for none."""
    plain = getattr(value, "value", value)
    if isinstance(plain, bool):
        return "on" if plain else "off"
    return f"`{plain}`" if isinstance(plain, str | int | float) and str(plain) else ""


# Findings


def findings() -> str:
    """A section for every group of the catalogue, a table of its codes."""
    entries = {str(code): entry for code, entry in read_catalogue().items()}
    parts = []
    for group, codes in groups(CATALOGUE_FILE.read_text(encoding="utf-8")):
        rows = ["| code | severity | meaning and what to do | example |", "|---|---|---|---|"]
        for code in codes:
            entry = entries[code]
            severity = ", ".join(entry.severities)
            rows.append(f"| `{code}` | {severity} | {entry.meaning} *{entry.fix}* | {entry.example} |")
        parts += [f"## {group[0].upper()}{group[1:]}", "\n".join(rows)]
    return "\n\n".join(parts)


def groups(text: str) -> Iterator[tuple[str, list[str]]]:
    """The comments of the file are the names of its groups; its first lines say what it is."""
    name, codes = "", list[str]()
    for line in text.split("\n\n", maxsplit=1)[1].splitlines():
        if line.startswith("# "):
            if codes:
                yield name, codes
            name, codes = line.removeprefix("# "), []
        elif line and not line.startswith(" "):
            codes.append(line.removesuffix(":"))
    yield name, codes


# Augmentation


def augmentations() -> str:
    """What every step does, how far it goes at magnitude 1, and which presets hold it."""
    steps = load("medaug.transforms:STEPS")
    presets = load("medaug.transforms:PRESETS")
    rows = ["| preset | steps |", "|---|---|"]
    rows += [
        f"| `{name}` | {', '.join(kind.model_fields['kind'].default for kind in kinds)} |"
        for name, kinds in presets.items()
    ]
    units = load("medaug.core.volume:Unit")
    reach = ["| step | at 1 | at 1 in Hounsfield units |", "|---|---|---|"]
    for name, kind in steps.items():
        plain, hu = (limits(name, kind, one) for one in (units.ARBITRARY, units.HU))
        reach.append(f"| `{name}` | {plain} | {'the same' if hu == plain else hu} |")
    parts = ["\n".join(rows), "\n".join(reach)]
    for title, ranks in FAMILIES:
        parts.append(f"### {title}")
        parts += [_step(name, kind) for name, kind in steps.items() if kind.rank in ranks]
    return "\n\n".join(parts)


def _step(name: str, kind: Any) -> str:  # noqa: ANN401
    """A section: what the docstring says, and the picture."""
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    picture = f"![{name} of a phantom: before, at magnitude 1, change](../assets/phantom/augment/{name}.png)"
    return f"#### {name}\n\n`{kind.__name__}`: {text}\n\n{picture}"


def limits(name: str, kind: Any, unit: Any) -> str:  # noqa: ANN401
    """The range of every parameter over many draws at magnitude 1."""
    numpy = importlib.import_module("numpy")
    rng, dims = numpy.random.default_rng(0), 2 if name == "perspective" else 3
    facts = load("medaug.transforms:Facts")((PATCH,) * dims, (1.0,) * dims, unit)
    drawn = [kind.draw(1.0, rng, facts) for _ in range(DRAWS)]
    told = []
    for field, value in drawn[0]:
        if field in ("kind", "seed") or isinstance(value, bool):
            continue
        numbers = [number for step in drawn for number in _flat(getattr(step, field))]
        low, high = min(numbers), max(numbers)
        # to two figures of the width of the range
        places = 1 - math.floor(math.log10(high - low)) if high > low else 0
        told.append(
            f"`{field}` {round(low, places):g}" + (f" to {round(high, places):g}" if high > low else "")
        )
    return ", ".join(told) or "always"


def _flat(value: Any) -> Iterator[float]:  # noqa: ANN401
    if isinstance(value, tuple):
        for one in value:
            yield from _flat(one)
    else:
        yield value


PAGES: Final[dict[str, Callable[[], str]]] = {
    "exit-codes.md": exit_codes,
    "json-schemas.md": json_files,
    "cli.md": command_line,
    "../how-to/augment.md": augmentations,
    "findings.md": findings,
}


def with_generated(page: str, generated: str) -> str:
    """The page with what stands between its markers replaced."""
    before, rest = page.split(START, maxsplit=1)
    _, after = rest.split(END, maxsplit=1)
    return f"{before}{START}\n\n{generated}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale."""
    sys.path.insert(0, str(ROOT))  # the benchmarks are in no installed package
    stale = []
    for name, generate in PAGES.items():
        path = REFERENCE / name
        old = path.read_text(encoding="utf-8")
        new = with_generated(old, generate())
        if new != old:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"stale: {', '.join(stale)}; run scripts/write_reference.py", file=sys.stderr)
        return 1
    print(f"reference pages: {len(PAGES)}, changed: {len(stale)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
