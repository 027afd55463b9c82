"""The tables of the study of synthesis, with what was to be shown and whether it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from scripts.study.material import COARSE

Json = Mapping[str, object]
RECOVERED, SAME_PLACE, ALIKE, HARD, NULL, CORRELATED = 0.8, 0.9, 0.05, 0.9, 0.65, 0.8


def tables(parts: Mapping[str, Json], cgans: tuple[str, ...]) -> str:
    """Everything that was measured, as Markdown."""
    writers = {
        "recovery": _recovery,
        "density": _density,
        "distance": _distance,
        "diversity": _diversity,
        "seams": _seams,
        "controls": _controls,
    }
    chapters = [writer(parts[name], cgans) for name, writer in writers.items() if name in parts]
    return "\n\n".join(chapters) + "\n"


def _at(found: object, *path: str) -> object:
    for name in path:
        found = cast(Json, found)[name]
    return found


def _number(found: object, *path: str) -> float:
    return float(cast(float, _at(found, *path)))


def _shown(found: object, digits: int = 3) -> str:
    value, low, high = (_number(found, key) for key in ("value", "low", "high"))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _met(*, met: bool) -> str:
    return "yes" if met else "no"


def _names(part: Json) -> list[str]:
    return [name for name, row in part.items() if isinstance(row, dict)]


def _recovery(part: Json, cgans: tuple[str, ...]) -> str:
    lines = [
        (
            f"**Class recovered**: balanced accuracy of classifiers that learnt on {part['n_learnt']} real lesions of other "
            f"patients, on made lesions over that on {part['n_real']} real ones; a cgan must reach {RECOVERED}."
        ),
        "",
        "| generator | n | classifier | made | real | ratio | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in _names(part):
        for judge in ("network", "features"):
            ratio = _number(part, name, judge, "ratio", "value")
            met = _met(met=ratio >= RECOVERED) if name in cgans else ""
            cells = [_shown(_at(part, name, judge, key)) for key in ("made", "real", "ratio")]
            lines.append(f"| {name} | {_at(part, name, 'n')} | {judge} | {' | '.join(cells)} | {met} |")
    return "\n".join(lines)


def _density(part: Json, cgans: tuple[str, ...]) -> str:
    names = _names(part)
    classes = list(cast(Json, part["real"]))
    lines = [
        f"**Mean density of the classes** ({part['unit']}); ground_glass must be less dense than solid.",
        "",
        f"| lesions | {' | '.join(classes)} | met |",
        f"|---|{'---|' * len(classes)}---|",
    ]
    for name in names:
        found = cast(Json, part[name])
        cells = [_shown(found[c], 0) if c in found else "" for c in classes]
        met = ""
        if name in cgans and {"ground_glass", "solid"} <= set(found):
            levels = [_number(part, name, c, "value") for c in ("ground_glass", "solid")]
            met = _met(met=levels[0] < levels[1])
        lines.append(f"| {name} | {' | '.join(cells)} | {met} |")
    return "\n".join(lines)


def _distance(part: Json, cgans: tuple[str, ...]) -> str:
    lines = [
        (
            f"**Kernel distance** to {part['n_reference']} real lesions of other patients, mean over the classes; the row real is "
            "the floor: real lesions of the patients that the generators saw."
        ),
        "",
        "| lesions | radiological figures | self-trained encoder |",
        "|---|---|---|",
    ]
    for name in cast(Json, _at(part, "figures", "distance")):
        cells = [_shown(_at(part, kind, "distance", name)) for kind in ("figures", "encoder")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| difference on the same draws | radiological figures | self-trained encoder | asked | met |",
        "|---|---|---|---|---|",
    ]
    for pair in cast(Json, _at(part, "figures", "difference")):
        ours, other = pair.split(" - ")
        asked = _asked(ours, other)
        cells, below = [], []
        for kind in ("figures", "encoder"):
            found = _at(part, kind, "difference", pair)
            cells.append(_shown(found))
            below.append(_number(found, "value") < 0)
        met = "/".join(_met(met=b) for b in below) if asked and ours in cgans else ""
        lines.append(f"| {pair} | {' | '.join(cells)} | {asked} | {met} |")
    return "\n".join(lines)


def _asked(ours: str, other: str) -> str:
    """What the difference of two generators is to be."""
    if other == ours + COARSE:
        return "below 0"
    return "goal: below 0" if other.startswith(("procedural", "vae")) else ""


def _diversity(part: Json, cgans: tuple[str, ...]) -> str:
    real = _number(part, "real", "ms_ssim", "value")
    lines = [
        (
            f"**Diversity**: mean SSIM of draws at one place (below {SAME_PLACE} for a cgan), and mean MS-SSIM of lesions of one "
            f"class (goal: within {ALIKE} of real pairs); only the lesion's box is compared."
        ),
        "",
        "| lesions | SSIM of draws | met | MS-SSIM in a class | off real | goal met |",
        "|---|---|---|---|---|---|",
    ]
    for name in _names(part):
        found = cast(Json, part[name])
        same, met = "", ""
        if "z_ssim" in found:
            same = f"{_shown(found['z_ssim'])}, n {_at(found, 'z_ssim', 'n')}"
            met = _met(met=_number(found, "z_ssim", "value") < SAME_PLACE) if name in cgans else ""
        off = _number(found, "ms_ssim", "value") - real
        goal = _met(met=abs(off) <= ALIKE) if name in cgans else ""
        lines.append(f"| {name} | {same} | {met} | {_shown(found['ms_ssim'])} | {off:+.3f} | {goal} |")
    return "\n".join(lines)


def _seams(part: Json, cgans: tuple[str, ...]) -> str:
    del cgans  # pastes of healthy tissue need none
    lines = [
        (
            f"**Seams**: area under the curve of detectors trained on one half of the patients, on the other half; at least {HARD} "
            f"on hard-edged pastes, at most {NULL} on null pastes."
        ),
        "",
        "| paste | n | network | figures | met |",
        "|---|---|---|---|---|",
    ]
    for name in _names(part):
        best = max(_number(part, name, kind, "value") for kind in ("network", "features"))
        met = _met(met=best >= HARD if name.startswith("hard") else best <= NULL)
        cells = [_shown(_at(part, name, kind)) for kind in ("network", "features")]
        lines.append(f"| {name} | {_at(part, name, 'n')} | {' | '.join(cells)} | {met} |")
    return "\n".join(lines)


def _controls(part: Json, cgans: tuple[str, ...]) -> str:
    lines = [
        (
            "**Size as asked**: correlation of the requested diameter with the one that a segmenter measures, trained on real lesions "
            f"of other patients; a lesion that it misses measures 0; a cgan must reach {CORRELATED}. The row real compares outlined "
            "and measured diameters of real lesions."
        ),
        "",
        "| lesions | n | correlation | found | mean error of the found, mm | met |",
        "|---|---|---|---|---|---|",
    ]
    for name in _names(part):
        met = ""
        if name in cgans:
            met = _met(met=_number(part, name, "correlation", "value") >= CORRELATED)
        error = _at(part, name, "mean_error_mm")
        told = "-" if error is None else f"{float(cast(float, error)):+.1f}"
        shown = _shown(_at(part, name, "correlation"))
        found = _number(part, name, "found")
        lines.append(f"| {name} | {_at(part, name, 'n')} | {shown} | {found:.0%} | {told} | {met} |")
    return "\n".join(lines)
