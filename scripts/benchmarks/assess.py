"""The search for copies, with everything on, against a plain double loop over scikit-image's structural similarity.

    .venv/bin/python scripts/benchmarks/assess.py 2d --threads 2
    .venv/bin/python scripts/benchmarks/assess.py 3d --threads 2
    .venv/bin/python scripts/benchmarks/assess.py 2d --dataset dataset    # patches of its fold 0, not of phantoms
    .venv/bin/python scripts/benchmarks/assess.py recall --dataset dataset
    .venv/bin/python scripts/benchmarks/assess.py lesions --dataset dataset

``2d`` and ``3d`` search 1,000 patches of 64 x 64 or 32 x 32 x 32 among 10,000: cutting, describing, learning and
searching, all changes looked for. The peer ``ssim`` compares the same patches pair by pair as they are, no change
looked for; its time is that of a sample of pairs, times their number. ``recall`` plants copies of each change in the
same configuration and prints what share is flagged, whose source is named, and how many held-out patches are flagged,
several of a patient, none of a patient the threshold rests on (``--synthetic`` counts the patches of both halves); and the
CPU time of a query (``before``: reading in, learning, calibrating). CPU seconds of ``2d`` and ``3d`` are those of all threads.
``lesions`` shows training lesions as if they had been drawn into another scan: unchanged, but only inside an edit mask of
two voxels around them; the held-out ones that are flagged are shown in such masks, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
from scipy.ndimage import binary_dilation

from scripts.benchmarks.measure import (
    BenchmarkResult,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaug.copying.imprint import Imprint
    from medaug.copying.search import CopySearch

AT_ONCE: Final = 200
FOLD: Final = 0
SIDES: Final = {2: 64, 3: 32}
PHANTOMS: Final = 6
FEWEST_VARIED: Final = 0.05
RIM_VOXELS: Final = 2


def volumes(asked: Namespace, dims: int) -> list[tuple[str, np.ndarray, bool]]:
    """(patient, (I, J, K) normalised, whether held out) of a dataset's cases, or of phantoms."""
    if asked.dataset is not None:
        return [(case.patient_id, case.image[0], held) for case, held in dataset_cases(asked.dataset)]
    from medaug.phantom.cohort import PhantomSpec, draw_patient, list_patients

    shape = (96, 96, 16) if dims == 2 else (64, 64, 48)
    spec = PhantomSpec(solid=PHANTOMS, ground_glass=PHANTOMS, both=0, lesion_free=0, shape=shape)
    drawn = [draw_patient(spec, patient).volume.image[0] for patient in list_patients(spec)]
    return [
        (f"p{n}", ((image + 400.0) / 500.0).astype(np.float32), n % 4 == 3) for n, image in enumerate(drawn)
    ]


def dataset_cases(folder: Path) -> Iterator[tuple[Imprint, bool]]:
    """The cases of a dataset, and whether each is held out."""
    from medaug.copying.imprint import Imprint
    from medaug.core.case import read_manifest
    from medaug.core.intensity import IntensityScheme
    from medaug.core.splits import read_splits
    from medaug.io.dataset import load_case

    manifest = read_manifest(folder)
    fold = read_splits(folder, manifest).fold(FOLD)
    for record in manifest.cases:
        case = load_case(folder, record, manifest.classes)
        image = IntensityScheme.for_volume(case.volume).case_scale(case.volume).normalise(case.volume.image)
        grid, labels = case.volume.grid, case.label_map
        lesion = np.zeros(grid.shape, bool) if labels is None else np.asarray(labels.labels > 0)
        found = Imprint(record.case_id, record.patient_id, image, lesion, grid.spacing_mm)
        yield found, record.patient_id not in fold.train


def cut(
    sources: list[tuple[str, np.ndarray, bool]],
    count: int,
    dims: int,
    rng: np.random.Generator,
    least_shown: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(count, *S) patches at random places, and the source of each; never two of the same place by design.

    At least this share of a patch must differ from what most of it shows, as air around a brain does.
    """
    side = SIDES[dims]
    shape = (side, side, 1 if dims == 2 else side)
    wide = [n for n, one in enumerate(sources) if all(np.greater_equal(one[1].shape, shape))]
    if not wide:
        sys.exit(
            f"no case holds a patch of {' x '.join(map(str, shape))} voxels; choose a dataset of larger images"
        )
    patches = np.empty((count, *shape), np.float32)
    numbers: list[int] = []
    while len(numbers) < count:
        number = wide[int(rng.integers(len(wide)))]
        image = sources[number][1]
        start = [int(rng.integers(n - m + 1)) for n, m in zip(image.shape, shape, strict=True)]
        patch = image[tuple(slice(s, s + m) for s, m in zip(start, shape, strict=True))]
        shown = np.mean(np.abs(patch - np.median(patch)) > FEWEST_VARIED)
        if patch.std() > FEWEST_VARIED and shown >= least_shown:
            patches[len(numbers)] = patch
            numbers.append(number)
    return patches, np.array(numbers)


def prepare(folder: Path, asked: Namespace, dims: int) -> None:
    """Cut the patches once; what is held out stands for the synthetic ones when speed is measured."""
    sources, rng = volumes(asked, dims), np.random.default_rng(asked.seed)
    training = [one for one in sources if not one[2]]
    others = [one for one in sources if one[2]] or sources
    known, owners = cut(training, asked.training, dims, rng, asked.shown)
    new, theirs = cut(others, asked.synthetic, dims, rng, asked.shown)
    for kind, images, names in (
        ("training", known, [training[n][0] for n in owners]),
        ("synthetic", new, [others[n][0] for n in theirs]),
    ):
        np.save(folder / f"{kind}.npy", images)
        np.save(folder / f"{kind}_owners.npy", names)


def imprints(folder: Path, kind: str) -> Iterator[Imprint]:
    """Patches as cases without a lesion, so that each is one query; read few at once, as an audit reads cases."""
    from medaug.copying.imprint import Imprint

    owners = np.load(folder / f"{kind}_owners.npy")
    for at in range(0, len(owners), AT_ONCE):
        block = np.array(np.load(folder / f"{kind}.npy", mmap_mode="r")[at : at + AT_ONCE])
        for n, image in enumerate(block, at):
            lesion = np.zeros(image.shape, bool)
            yield Imprint(f"{kind}{n}", str(owners[n]), image[None], lesion, (1.0, 1.0, 1.0))


@final
class Spent(NamedTuple):
    """Seconds of one search.

    Attributes:
        built: To read the training patches in and learn.
        searched: To search all synthetic ones.
        cpu_built: The same of all threads, on the processor.
        cpu_searched: The same of all threads, on the processor.
    """

    built: float
    searched: float
    cpu_built: float
    cpu_searched: float


def search_once(threads: int, folder: Path) -> Spent:
    """Search all synthetic patches among the training patches."""
    import torch

    from medaug.copying.search import CopySearch
    from medaug.core.runs import NoProgress

    torch.set_num_threads(threads)
    begun, cpu = time.perf_counter(), time.process_time()
    search = CopySearch(imprints(folder, "training"), (), 0, NoProgress())
    built, cpu_built = time.perf_counter(), time.process_time()
    for _ in search.nearest_to_all(imprints(folder, "synthetic")):
        pass
    return Spent(built - begun, time.perf_counter() - built, cpu_built - cpu, time.process_time() - cpu_built)


def ssim_seconds(folder: Path, pairs: int) -> float:
    """Mean time of one comparison."""
    from skimage.metrics import structural_similarity

    training, synthetic = (
        np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in ("training", "synthetic")
    )
    span = float(np.ptp(synthetic))
    begun = time.perf_counter()
    for n in range(pairs):
        first, second = training[n % len(training)], synthetic[n % len(synthetic)]
        structural_similarity(np.squeeze(first), np.squeeze(second), data_range=span)
    return (time.perf_counter() - begun) / pairs


def compare(folder: Path, asked: Namespace, dims: int) -> BenchmarkResult:
    """Time both sides and measure the search's memory."""
    prepare(folder, asked, dims)
    before = ssim_seconds(folder, asked.pairs)
    runs = [search_once(asked.threads, folder) for _ in range(asked.repeats)]
    spent = Spent(*(float(np.median(column)) for column in zip(*runs, strict=True)))
    pairs = asked.training * asked.synthetic
    plain = (before + ssim_seconds(folder, asked.pairs)) / 2 * pairs
    ours = spent.built + spent.searched
    peak = peak_mb(partial(search_once, asked.threads), folder)
    sizes = " x ".join([str(SIDES[dims])] * dims)
    return BenchmarkResult(
        name="assess",
        setting=f"{asked.synthetic} patches of {sizes} searched among {asked.training} for copies of every kind",
        ratios={"ssim": round(plain / ours, 3)},
        seconds={"medaug": round(ours, 3), "ssim": round(plain, 3)},
        peaks_mb={"medaug": peak, "ssim": peak},
        threads=asked.threads,
        repeats=asked.repeats,
        versions=versions("torch", "scikit-image"),
        notes=(
            f"{spent.built:.1f} s to learn from the training patches, {spent.searched:.1f} s to search",
            f"CPU seconds of all threads: {spent.cpu_built:.1f} and {spent.cpu_searched:.1f}",
            f"ssim: {asked.pairs} pairs timed on one core before the search and after, times {pairs}; its memory is not measured",
        ),
    )


def recall(folder: Path, asked: Namespace) -> dict[str, object]:
    """Planted copies by change, and held-out patients flagged that the threshold does not rest on."""
    import torch

    from medaug.copying.search import CopySearch
    from medaug.core.runs import NoProgress

    torch.set_num_threads(asked.threads)
    prepare(folder, asked, asked.dims)
    training, held_out = (list(imprints(folder, kind)) for kind in ("training", "synthetic"))
    names = sorted({case.patient_id for case in held_out})
    rng = np.random.default_rng(asked.seed + 1)
    judges = set(rng.permutation(names)[: asked.judges or len(names) // 2].tolist())
    begun = time.process_time()
    known = [case for case in held_out if case.patient_id in judges]
    search = CopySearch(training, known, 0, NoProgress())
    built = time.process_time()
    fresh = [case for case in held_out if case.patient_id not in judges]
    found = search.nearest_to_all(fresh)
    flagged = [case.patient_id for case, matches in found for match in matches if match.score >= 1.0]
    searched = time.process_time()
    return {
        "cpu_seconds": {
            "a_query": round((searched - built) / max(1, len(fresh)), 3),
            "before": round(built - begun, 1),
        },
        "false_positives": f"{len(flagged)} of {len(fresh)} held-out patches, "
        f"{len(set(flagged))} of {len(names) - len(judges)} patients; "
        f"the threshold rests on {len(known)} patches of {len(judges)} others",
        "changes": planted(search, copied_from(training, asked.of), fresh or held_out, asked),
    }


def copied_from(training: list[Imprint], patients: list[str]) -> list[Imprint]:
    """The patches of some patients; of all where none is named."""
    of_them = [case for case in training if not patients or case.patient_id in patients]
    if not of_them:
        sys.exit(f"no training patch is of {', '.join(patients)}; name training patients of fold {FOLD}")
    return of_them


def planted(
    search: CopySearch, training: list[Imprint], others: list[Imprint], asked: Namespace
) -> dict[str, str]:
    """Share flagged and source named, by change."""
    from medaug.copying.imprint import Imprint
    from medaug.copying.planting import CHANGES, plant

    rng = np.random.default_rng(asked.seed + 2)
    rows: dict[str, str] = {}
    for change in CHANGES:
        flagged = named = 0
        for _ in range(asked.copies):
            source, other = training[rng.integers(len(training))], others[rng.integers(len(others))]
            flat = source.image.shape[3] == 1
            images = [case.image[..., 0] if flat else case.image for case in (source, other)]
            copy = plant(images[0], images[1], change, rng)
            copy = copy[..., None] if flat else copy
            case = Imprint("copy", "nobody", copy, source.lesion, source.spacing_mm)
            match = next((m for m in search.nearest(case) if m.part == "background"), None)
            flagged += match is not None and match.score >= 1.0
            named += match is not None and match.source_patient_id == source.patient_id
        rows[change] = f"{flagged} of {asked.copies} flagged, source patient named in {named}"
    return rows


def around_lesion(case: Imprint, *, edited: bool) -> Imprint:
    """The slice with most of the lesion, 64 x 64 around it."""
    from medaug.copying.imprint import Imprint

    k = int(case.lesion.sum(axis=(0, 1)).argmax())
    middle = np.argwhere(case.lesion[..., k]).mean(axis=0)
    starts = [
        int(np.clip(round(m - (SIDES[2] - 1) / 2), 0, max(0, n - SIDES[2])))
        for m, n in zip(middle, case.lesion.shape, strict=False)
    ]
    spans = (*[slice(start, start + SIDES[2]) for start in starts], slice(k, k + 1))
    lesion = case.lesion[spans]
    edit = binary_dilation(lesion, np.ones((3, 3, 1), bool), RIM_VOXELS) if edited else None
    return Imprint(case.case_id, case.patient_id, case.image[:, *spans], lesion, case.spacing_mm, edit)


def lesions(asked: Namespace) -> dict[str, object]:
    """Training lesions found that are shown inside an edit mask, and held-out patients flagged there."""
    import torch

    from medaug.copying.search import CopySearch
    from medaug.core.runs import NoProgress

    torch.set_num_threads(asked.threads)
    rng = np.random.default_rng(asked.seed)
    cases = [(case, held) for case, held in dataset_cases(asked.dataset) if case.lesion.any()]
    training = [case for case, held in cases if not held][: asked.training]
    others = {case.patient_id: case for case, held in cases if held}
    names = rng.permutation(sorted(others)).tolist()
    judges = [around_lesion(others[name], edited=False) for name in names[: len(names) // 2]]
    search = CopySearch(training, judges, 0, NoProgress())
    chosen = rng.permutation(len(training))[: asked.copies].tolist()
    shown = {
        "copies": [training[n] for n in chosen],
        "held_out": [others[name] for name in names[len(judges) :]],
    }
    rows: dict[str, object] = {}
    for kind, some in shown.items():
        matches = [
            match
            for case in some
            for match in search.nearest(around_lesion(case, edited=True))
            if match.part == "lesion"
        ]
        flagged = [match for match in matches if match.score >= 1.0]
        named = sum(match.source_case_id == match.case_id for match in flagged)
        rows[kind] = f"{len(flagged)} of {len(matches)} flagged, source named in {named}"
    return rows


def main() -> int:
    """Read the command line, cut the patches, and print."""
    options = parser("Search synthetic patches for copies of training patches.", repeats=1)
    options.add_argument("what", nargs="?", choices=("2d", "3d", "recall", "lesions"), default="2d")
    options.add_argument("--training", type=at_least_one, default=10_000, help="patches (default 10000)")
    options.add_argument("--synthetic", type=at_least_one, default=1_000, help="patches (default 1000)")
    options.add_argument(
        "--pairs", type=at_least_one, default=5000, help="timed with ssim, before and after (default 5000)"
    )
    options.add_argument("--copies", type=at_least_one, default=20, help="of each change (default 20)")
    options.add_argument(
        "--judges",
        type=at_least_one,
        help="held-out patients that recall's threshold rests on (default half)",
    )
    options.add_argument(
        "--of", nargs="+", default=[], help="training patients that recall copies (default all)"
    )
    options.add_argument(
        "--shown",
        type=float,
        default=0.0,
        help="least share of a patch that is not like most of it (default 0)",
    )
    options.add_argument("--dims", type=int, choices=(2, 3), default=2, help="of recall")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--dataset", type=Path, help="dataset folder with folds, in place of phantoms")
    asked = options.parse_args()
    limit_threads(asked.threads)
    if asked.what == "lesions" and asked.dataset is None:
        options.error("lesions needs --dataset")
    with tempfile.TemporaryDirectory() as name:
        if asked.what == "lesions":
            print(json.dumps(lesions(asked), indent=1))
        elif asked.what == "recall":
            print(json.dumps(recall(Path(name), asked), indent=1))
        else:
            show(compare(Path(name), asked, int(asked.what[0])), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
