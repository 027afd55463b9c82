"""The parts of the study of synthesis: each answers one question and leaves one JSON file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy import ndimage

from medaug.core.config import Frozen
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale
from medaug.core.lesion import Generator
from medaug.core.runs import NoProgress, open_run
from medaug.core.volume import Image, Mask, Volume
from medaug.lesions.diameter import mask_diameter_mm
from medaug.quality.distances import Described, DistanceDraws, class_distances, describe_all
from medaug.quality.encoder import train_encoder
from medaug.quality.looks import Looks, look_at
from medaug.quality.recovery import ClassJudge, Recovered, compare_recovery
from medaug.quality.resampling import (
    Estimate,
    correlation_draws,
    estimate,
    patient_weights,
    weighted_mean,
)
from medaug.quality.samples import LesionSample
from medaug.quality.seams import KINDS, Pastes, SeamResult, detect
from medaug.quality.similarity import SIZES, lesion_box, pairwise_ms_ssim
from medaug.synthesis.order import Finish, Order, Prepared
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import slab_of
from medaug.tasks.base import Model, TrainingData, load_model, parse_task
from medaug.transforms.base import parse_transforms
from scripts.study.material import COARSE, Half, Material, drawn_mask, in_host, outline_in_host, plain

Json = dict[str, object]
Generators = Mapping[str, Generator]
SEAM_SIZE: Final = {2: (32, 32), 3: (32, 32, 6)}
DRAWS_A_PLACE: Final = 6
PLACES_A_CLASS: Final = 8
PAIRED_A_CLASS: Final = 40
SWEPT_MM: Final = (4.0, 20.0)
SWEPT: Final = 120
SEAM_PLACES: Final = 320
SEGMENTER: Final = {
    "kind": "segmentation",
    "dims": 2,
    "patch_size": [64, 64],
    "steps": 1500,
    "base_channels": 16,
}


def shown(value: Estimate) -> Json:
    """An estimate as JSON."""
    return {"value": value.value, "low": value.low, "high": value.high}


def made_sets(material: Material, generators: Generators, folder: Path) -> dict[str, Looks]:
    """Each generator's lesions at the study's places; kept as files, so that the parts can be run apart."""
    found = {}
    for name, generator in generators.items():
        path = folder / f"made_{name}.npz"
        if not path.is_file():
            looks = material.made(generator)
            np.savez(
                path, images=looks.images, masks=looks.masks, class_index=looks.class_index,
                patients=np.asarray(looks.patients), features=looks.features, levels=looks.levels,
            )  # fmt: skip
        with np.load(path) as kept:
            patients = tuple(str(p) for p in kept["patients"])
            found[name] = Looks(
                kept["images"], kept["masks"], kept["class_index"], patients, kept["features"], kept["levels"]
            )
    return found


def recovery(material: Material, made: Mapping[str, Looks]) -> Json:
    """Is the requested class recovered by classifiers that learnt on real lesions of other patients?"""
    judge = ClassJudge(material.real_held_out, material.seed.child("judge"))
    real = material.real_training
    of_real = judge.opinions(real)
    answer: Json = {"n_learnt": len(material.real_held_out), "n_real": len(real)}
    for name, looks in made.items():
        seen = judge.opinions(looks)
        seed = material.seed.child("recovery")
        network = compare_recovery((seen.network, looks), (of_real.network, real), seed)
        features = compare_recovery((seen.features, looks), (of_real.features, real), seed)
        answer[name] = {"n": len(looks), "network": _recovered(network), "features": _recovered(features)}
    return answer


def _recovered(found: Recovered) -> Json:
    return {
        "made": shown(found.made),
        "real": shown(found.real),
        "ratio": shown(found.ratio),
        "by_class": list(found.by_class),
    }


def density(material: Material, made: Mapping[str, Looks]) -> Json:
    """Mean of the first channel by class, native units where these mean the same in all scans."""
    scheme = material.training.bank.index.scheme
    offset, factor = scheme.offset[0], scheme.factor[0]
    answer: Json = {"unit": str(scheme.unit)}
    for name, looks in {
        "real": material.real_training,
        "real held out": material.real_held_out,
        **made,
    }.items():
        rows = {}
        for number, class_name in enumerate(material.classes):
            some = looks.of_class(number)
            if len(some) == 0:
                continue
            levels = some.levels[:, 0] * factor + offset
            weights = patient_weights(some.patients, material.seed.child("density").rng())
            rows[class_name] = shown(estimate(float(levels.mean()), weighted_mean(levels, weights)))
        answer[name] = rows
    return answer


def distances(material: Material, made: Mapping[str, Looks]) -> Json:
    """Kernel distance to real lesions of other patients, on figures made by hand and on a self-trained encoder's."""
    encoder = train_encoder(material.real_training, material.seed.child("encoder"))
    sets = {"real": material.real_training, **made}
    answer: Json = {"n_reference": len(material.real_held_out)}
    for kind, describe in {
        "figures": lambda looks: looks.features,
        "encoder": encoder.features,
    }.items():
        answer[kind] = _compare(material, sets, describe)
    return answer


def _compare(material: Material, sets: Mapping[str, Looks], describe: Callable[[Looks], np.ndarray]) -> Json:
    reference = _described(material.real_held_out, describe)
    others = describe_all(
        [reference, *(_described(looks, describe) for looks in sets.values())],
        _described(material.real_training, describe),
    )
    seed = material.seed.child("distance")
    found = {
        name: class_distances(other, others[0], seed) for name, other in zip(sets, others[1:], strict=True)
    }
    rows: Json = {
        name: {**shown(one.estimate()), "by_class": list(one.by_class)} for name, one in found.items()
    }
    return {"distance": rows, "difference": _differences(found)}


def _described(looks: Looks, describe: Callable[[Looks], np.ndarray]) -> Described:
    return Described(describe(looks), looks.class_index, looks.patients)


def _differences(found: Mapping[str, DistanceDraws]) -> Json:
    """Each cgan minus every other one, on the same draws of patients."""
    ours = [name for name in found if name + COARSE in found]
    return {
        f"{name} - {other}": shown(found[name].minus(found[other]))
        for name in ours
        for other in found
        if other not in (name, "real")
    }


def diversity(material: Material, generators: Generators, made: Mapping[str, Looks]) -> Json:
    """Do draws of these generators differ where host and mask are the same, and lesions of a class as much as real ones?"""
    answer: Json = {"data_range": material.data_range}
    for name, looks in {"real": material.real_training, **made}.items():
        drawn = {"ms_ssim": _class_similarity(material, looks)}
        if name in generators:
            drawn["z_ssim"] = _same_place(material, generators[name])
        answer[name] = drawn
    return answer


def _same_place(material: Material, generator: Generator) -> Json:
    """How alike draws at one place are, over the places."""
    values, owners = material.same_place(
        generator, places_a_class=PLACES_A_CLASS, draws_a_place=DRAWS_A_PLACE
    )
    found = np.asarray(values)
    draws = weighted_mean(found, patient_weights(owners, material.seed.child("z-draws").rng()))
    return {**shown(estimate(float(found.mean()), draws)), "n": len(found)}


def _class_similarity(material: Material, looks: Looks) -> Json:
    """Mean MS-SSIM of pairs of lesions of one class and different patients, and its mean over classes."""
    rows: Json = {}
    means, draws = [], []
    for number, class_name in enumerate(material.classes):
        chosen = np.flatnonzero(looks.class_index == number)[:PAIRED_A_CLASS]
        if len(chosen) < 2:
            continue
        some = looks.at(chosen)
        boxes = torch.stack([_boxed(material, *pair) for pair in zip(some.images, some.masks, strict=True)])
        values, pairs = pairwise_ms_ssim(boxes, some.patients, material.data_range)
        weights = patient_weights(some.patients, material.seed.child("pairs", class_name).rng())
        both = weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]]
        means.append(float(values.mean()))
        draws.append(weighted_mean(values, both))
        rows[class_name] = means[-1]
    return {**shown(estimate(float(np.mean(means)), np.mean(draws, axis=0))), "by_class": rows}


def _boxed(material: Material, image: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """The lesion's box of a look, which has no third axis where it shows a slice."""
    if mask.ndim == 2:
        image, mask = image[..., None], mask[..., None]
    return lesion_box(image, mask, SIZES[material.dims])


def seams(material: Material) -> Json:
    """Is pasted healthy tissue told from untouched tissue, hard-edged, and with the blendings that are shipped?"""
    orders = [Order(material.classes[n % len(material.classes)], use="null") for n in range(SEAM_PLACES)]
    sides = [(material.training, "learn"), (material.held_out, "score")]
    places = [
        material.prepare(Renderer(half.bank, plain()), half, orders, material.seed.child("seams", word))
        for half, word in sides
    ]
    finishes: dict[str, Finish | None] = {
        "hard": None,
        "feather": Finish(),
        "poisson": Finish(blending="poisson"),
    }
    answer: Json = {}
    for name, finish in finishes.items():
        pastes = [
            _pastes(material, half, some, finish) for (half, _), some in zip(sides, places, strict=True)
        ]
        print(f"seams: {name}", file=sys.stderr, flush=True)
        answer[name] = _seam(detect(pastes[0], pastes[1], material.seed.child("detector")))
    return answer


def _seam(found: SeamResult) -> Json:
    return {"network": shown(found.network), "features": shown(found.features), "n": found.n}


def _pastes(material: Material, half: Half, places: list[Prepared], finish: Finish | None) -> Pastes:
    """Every place twice: pasted (class 1) and untouched (class 0)."""
    renderer = Renderer(half.bank, plain(), finish=finish)
    samples = []
    for number, place in enumerate(places):
        mask = outline_in_host(place)
        if finish is None:
            pasted = _hard(place, _of_another(places, number))
        else:
            pasted = renderer.complete([place], [material.seed.rng()])[0].case.volume.image
        for kind, image in zip(KINDS, (place.host.volume.image, pasted), strict=True):
            samples.append(_sample(place.request.scale, image, mask, kind, place))
    return Pastes(look_at(samples, SEAM_SIZE[material.dims], KINDS))


def _of_another(places: list[Prepared], number: int) -> Prepared:
    """The next place in a host of another patient."""
    owner = places[number].host.patient_id
    later = [*places[number + 1 :], *places[:number]]
    return next(p for p in later if p.host.patient_id != owner)


def _sample(scale: CaseScale, image: Image, mask: Mask, kind: str, place: Prepared) -> LesionSample:
    host, spacing = place.host, place.request.spacing_mm
    return LesionSample(host.case_id, host.patient_id, kind, scale.normalise(image), mask, spacing)


def _hard(place: Prepared, donor: Prepared) -> Image:
    """The host with healthy tissue of another patient copied inside the outline: no blending, no level brought in line."""
    image = place.host.volume.image.copy()
    part, inner = in_host(place)
    tissue = Box.centred(_middle(donor.request.box), place.request.box.shape).cut(donor.host.volume.image)
    mask = place.request.mask[inner]
    image[(slice(None), *part.slices)][:, mask] = tissue[(slice(None), *inner)][:, mask]
    return image


def _middle(box: Box) -> tuple[int, int, int]:
    return (
        box.start[0] + box.shape[0] // 2,
        box.start[1] + box.shape[1] // 2,
        box.start[2] + box.shape[2] // 2,
    )


class SegmenterSettings(Frozen):
    """What makes the study's segmenter what it is."""

    task: dict[str, object]
    fold: int


def controls(material: Material, generators: Generators, folder: Path) -> Json:
    """Is the requested diameter the one that a segmenter of real lesions measures in the image?"""
    model = _segmenter(material, folder / "segmenter")
    rng = material.seed.child("diameters").rng()
    wanted = [float(d) for d in rng.uniform(*SWEPT_MM, size=SWEPT)]
    orders = [
        Order(material.classes[n % len(material.classes)], diameter_mm=(d, d)) for n, d in enumerate(wanted)
    ]
    renderer = Renderer(material.training.bank, plain())
    places = material.prepare(renderer, material.training, orders, material.seed.child("controls"))
    answer: Json = {"n_ordered": SWEPT, "real": _measured_on_real(material, model)}
    for name, generator in generators.items():
        drawn = material.draw(generator, places, material.seed.child("controls-draw"))
        requested = np.asarray([p.order.diameter_mm[0] for p in places if p.order.diameter_mm])
        found = np.asarray([_measure(model, r.case.volume, drawn_mask(r)) for r in drawn])
        answer[name] = _agreement(material, requested, found, [p.host.patient_id for p in places])
    return answer


def _agreement(material: Material, requested: np.ndarray, found: np.ndarray, owners: list[str]) -> Json:
    weights = patient_weights(owners, material.seed.child("agreement").rng())
    whole = correlation_draws(requested, found, np.ones((1, len(found))))
    seen = found > 0
    return {
        "correlation": shown(estimate(float(whole[0]), correlation_draws(requested, found, weights))),
        "n": len(found),
        "found": float(seen.mean()),
        "mean_error_mm": float((found - requested)[seen].mean()) if seen.any() else None,
    }


def _measured_on_real(material: Material, model: Model) -> Json:
    """The same on real lesions of the patients that the segmenter has not seen: what is the most to hope for."""
    labelled, found, owners = [], [], []
    for case in material.training.cases:
        if case.label_map is None or not case.label_map.labels.any():
            continue
        mask, volume = np.asarray(case.label_map.labels > 0), case.volume
        if material.dims == 2:
            k = int(np.argmax(mask.sum(axis=(0, 1))))
            mask, volume = mask[..., k : k + 1], slab_of(case, k).volume
        labelled.append(_diameter(mask, volume.grid.spacing_mm))
        found.append(_measure(model, volume, mask))
        owners.append(case.patient_id)
    return _agreement(material, np.asarray(labelled), np.asarray(found), owners)


def _measure(model: Model, volume: Volume, mask: Mask) -> float:
    """Diameter of what the segmenter marks at a lesion; 0 where it marks nothing there."""
    components, _ = ndimage.label(model.predict(volume).labels > 0, np.ones((3, 3, 3)))
    touched = np.unique(components[mask & (components > 0)])
    found = np.isin(components, touched[touched > 0])
    return _diameter(found, volume.grid.spacing_mm) if found.any() else 0.0


def _diameter(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Of the ball of equal volume; of the disc of equal area on one slice."""
    if mask.shape[2] == 1:
        return float(2 * np.sqrt(mask.sum() * spacing_mm[0] * spacing_mm[1] / np.pi))
    return mask_diameter_mm(mask, spacing_mm)


def _segmenter(material: Material, folder: Path) -> Model:
    """A small segmenter of slices, trained on real lesions of the held-out half."""
    task = parse_task(SEGMENTER)
    bank = material.held_out.bank
    data = TrainingData(material.held_out.cases, material.classes, bank.index.scheme)
    augment = parse_transforms({"kind": "classical"}).build(bank.index.scheme.unit, material.modality)
    settings = SegmenterSettings(task=task.model_dump(mode="json"), fold=material.fold.index)
    with open_run(folder, "segmenter", settings, {"scope": material.fold.scope_sha256}) as run:
        task.build("cpu").fit(data, augment, run, NoProgress(), material.seed.child("segmenter"))
    return load_model(folder, "cpu")
