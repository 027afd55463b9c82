"""A made-up chest in Hounsfield units: body wall, ribs, spine, mediastinum, lungs with vessels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.phantom.fields import Field, Frame, Spread, ellipse, inside, paint, smooth_noise

_AIR, _FAT, _MUSCLE, _BLOOD, _LUNG = -1000.0, -100.0, 50.0, 42.0, -860.0
_EDGE_MM = 1.2


@final
@dataclass(frozen=True, slots=True)
class Build:
    """How one made-up patient differs from the next; lengths in mm.

    Attributes:
        half_width: Of the body, left to right.
        flatness: Depth of the body over its width.
        fat: Thickness under the skin.
        lung_size: 1 is average.
        lung_hu: Mean of the parenchyma.
        heart: 1 is average.
        blood_hu: Of heart and great vessels; higher where contrast agent was given.
        tilt: Turn of the patient on the table in radians.
        rib_phase: Where the ribs begin, 0..1.
        diaphragm: Where its dome begins on the right; 1 is the lowest slice, more is outside the image.
    """

    half_width: float
    flatness: float
    fat: float
    lung_size: float
    lung_hu: float
    heart: float
    blood_hu: float
    tilt: float
    rib_phase: float
    diaphragm: float

    @staticmethod
    def draw(reach_mm: float, rng: np.random.Generator) -> Build:
        """A random build whose body fits a field of view of ``reach_mm`` on each side."""
        return Build(
            half_width=reach_mm * rng.uniform(0.82, 0.95),
            flatness=rng.uniform(0.66, 0.76),
            fat=reach_mm * rng.uniform(0.02, 0.07),
            lung_size=rng.uniform(0.93, 1.05),
            lung_hu=_LUNG + rng.normal(0.0, 15.0),
            heart=rng.uniform(0.85, 1.1),
            blood_hu=_BLOOD if rng.random() < 0.7 else rng.uniform(140.0, 220.0),
            tilt=rng.normal(0.0, 0.05),
            rib_phase=rng.random(),
            diaphragm=rng.uniform(0.55, 1.3),
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """A drawn chest.

    Attributes:
        image: (I, J, K) float32 HU without noise.
        lung_depth_mm: (I, J, K) distance from the edge of the lung, positive inside.
        body: (I, J, K) share of each voxel inside the body, 0..1.
    """

    image: Field
    lung_depth_mm: Field
    body: Field


def draw_chest(frame: Frame, rng: np.random.Generator) -> Chest:
    """Draw one chest on a frame; everything about it follows from ``rng``."""
    build = Build.draw(float(frame.x.max()), rng)
    turned = _turn(frame, build.tilt)
    w = build.half_width
    girth = 1.0 - 0.02 * _height(turned)
    outline = ellipse(turned, (0.0, 0.0), (w, w * build.flatness), scale=girth, power=2.4)
    cavity = ellipse(
        turned, (0.0, 0.02 * w), (0.86 * w - build.fat, (build.flatness - 0.1) * w - build.fat), power=2.2
    )
    body = inside(outline, _EDGE_MM)
    image = paint(np.full(frame.shape, _AIR, np.float32), _FAT + 8 * smooth_noise(frame, 2.0, rng), body)
    wall = outline + build.fat * (1 + 0.35 * smooth_noise(frame, 9.0, rng))
    image = paint(image, _MUSCLE + 10 * smooth_noise(frame, 1.6, rng), inside(wall, _EDGE_MM))
    image = _mediastinum(image, turned, build, cavity, rng)
    image, depth = _lungs(image, turned, build, cavity, rng)
    image = _airway(image, turned, build)
    image = _ribs(image, turned, build, cavity)
    image = _spine(image, turned, build, rng)
    return Chest(image, depth, body)


def _turn(frame: Frame, angle_rad: float) -> Frame:
    """The frame turned about z; its x and y become full planes."""
    c, s = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    return Frame(frame.x * c + frame.y * s, frame.y * c - frame.x * s, frame.z, frame.spacing_mm)


def _height(frame: Frame) -> Spread:
    """-1 at the lowest slice, 1 at the highest."""
    return np.asarray(frame.z / max(float(np.abs(frame.z).max()), 1e-6), dtype=np.float32)


def _heart(frame: Frame, build: Build) -> Field:
    """Signed distance to the heart, which narrows upwards into the great vessels."""
    s, w = _height(frame), build.half_width
    size = build.heart * np.clip(0.30 - 0.16 * s, 0.12, 0.34)
    return ellipse(frame, (-0.10 * w, 0.13 * w), (w, 0.82 * w), scale=size)


def _mediastinum(image: Field, frame: Frame, build: Build, cavity: Spread, rng: np.random.Generator) -> Field:
    """Fat between the lungs, heart, ascending and descending aorta."""
    w = build.half_width
    image = paint(image, _FAT + 60 + 25 * smooth_noise(frame, 3.0, rng), inside(cavity + 1.0, _EDGE_MM))
    blood = build.blood_hu + 6 * smooth_noise(frame, 3.0, rng)
    image = paint(image, blood, inside(_heart(frame, build) + 1.0, 2.0))
    image = paint(
        image, blood + 6, inside(ellipse(frame, (-0.15 * w, -0.27 * w), (0.085 * w, 0.085 * w)), _EDGE_MM)
    )
    return paint(
        image, blood + 6, inside(ellipse(frame, (0.07 * w, 0.17 * w), (0.10 * w, 0.10 * w)), _EDGE_MM)
    )


def _lung_edges(frame: Frame, build: Build, cavity: Spread) -> Field:
    """Signed distance to both lungs together: tapered upwards, dented by heart, spine and liver dome."""
    s, w = _height(frame), build.half_width
    taper = build.lung_size * (1.0 - 0.10 * np.clip(s, 0.0, 1.0) ** 2 - 0.03 * np.clip(-s, 0.0, 1.0))
    right = ellipse(frame, (0.42 * w, -0.01 * w), (0.35 * w, 0.56 * w), scale=taper, power=2.2)
    left = ellipse(frame, (-0.43 * w, -0.02 * w), (0.33 * w, 0.54 * w), scale=taper, power=2.2)
    edge = np.maximum(np.minimum(right, left), cavity + 1.2)
    below = -s - build.diaphragm
    blunt = np.where(below > 0, 0.14 + 0.3 * np.sqrt(np.abs(below)), -0.1)
    dome = ellipse(frame, (0.40 * w, 0.08 * w), (w, 1.2 * w), scale=blunt)
    edge = np.maximum(edge, -dome)
    edge = np.maximum(edge, -_heart(frame, build))
    return np.asarray(
        np.maximum(edge, -ellipse(frame, (0.0, -0.40 * w), (0.20 * w, 0.19 * w))), dtype=np.float32
    )


def _lungs(
    image: Field, frame: Frame, build: Build, cavity: Spread, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Parenchyma, denser towards the back, with a tree of vessels; also the depth inside the lungs in mm."""
    edge = _lung_edges(frame, build, cavity) + 0.5 * smooth_noise(frame, 4.0, rng)
    back = -26.0 * frame.y / (build.flatness * build.half_width)
    parenchyma = (
        build.lung_hu + back + 14 * smooth_noise(frame, 1.5, rng) + 16 * smooth_noise(frame, 7.0, rng)
    )
    parenchyma = paint(parenchyma, build.blood_hu - 10, _vessels(frame, build, rng))
    return paint(image, parenchyma, inside(edge, _EDGE_MM)), np.asarray(-edge, dtype=np.float32)


def _vessels(frame: Frame, build: Build, rng: np.random.Generator) -> Field:
    """Share of vessel in each voxel.

    Where two independent smooth fields are both zero there are lines; thick lines are tubes that branch.
    They thin out with the distance from the hila.
    """
    length_mm = 0.075 * build.half_width
    lines = np.hypot(smooth_noise(frame, length_mm, rng), smooth_noise(frame, length_mm, rng))
    hilum = np.hypot(np.abs(frame.x) - 0.22 * build.half_width, frame.y)
    radius_mm = 0.25 + 1.7 * np.exp(-hilum / (0.24 * build.half_width))
    return inside(lines * length_mm * 0.72 - radius_mm, 0.9)


def _airway(image: Field, frame: Frame, build: Build) -> Field:
    """Trachea above, two main bronchi below."""
    s, w = _height(frame), build.half_width
    apart = w * np.clip(0.16 * (0.35 - s), 0.0, 0.2)
    radius = np.where(s > 0.35, 0.062, 0.048)
    mirrored = Frame(np.abs(frame.x) - apart, frame.y, frame.z, frame.spacing_mm)
    tube = ellipse(mirrored, (0.0, -0.02 * w), (w, w), scale=radius)
    image = paint(image, _MUSCLE, inside(tube - 1.0, _EDGE_MM) * (s > -0.6))
    return paint(image, _AIR + 15, inside(tube, _EDGE_MM) * (s > -0.6))


def _ribs(image: Field, frame: Frame, build: Build, cavity: Spread) -> Field:
    """Slanted ribs in the wall around the cavity, and the breast bone."""
    w = build.half_width
    angle = np.arctan2(frame.y, np.abs(frame.x))
    pitch_mm = 0.30 * w
    wave = np.cos(2 * np.pi * (frame.z / pitch_mm + 0.8 * angle + build.rib_phase))
    ring = np.abs(cavity - 0.045 * w) - 0.028 * w
    rib = np.maximum(ring, (0.35 - wave) * pitch_mm * 0.16)
    marrow = inside(rib + 0.022 * w, _EDGE_MM)
    image = paint(image, 420.0, inside(rib, _EDGE_MM))
    image = paint(image, 150.0, marrow)
    sternum = ellipse(frame, (0.0, (build.flatness - 0.085) * w - build.fat), (0.13 * w, 0.035 * w))
    return paint(image, 260.0, inside(sternum, _EDGE_MM))


def _spine(image: Field, frame: Frame, build: Build, rng: np.random.Generator) -> Field:
    """Vertebral bodies with discs between them, the canal, and the posterior arch."""
    w = build.half_width
    vertebra = ellipse(frame, (0.0, -0.40 * w), (0.15 * w, 0.12 * w))
    canal = ellipse(frame, (0.0, -0.575 * w), (0.055 * w, 0.05 * w))
    arch = np.minimum(canal - 0.045 * w, ellipse(frame, (0.0, -0.64 * w), (0.022 * w, 0.10 * w)))
    arch = np.minimum(arch, ellipse(frame, (0.0, -0.565 * w), (0.20 * w, 0.028 * w)))
    disc = np.clip(np.cos(2 * np.pi * (frame.z / (0.34 * w) + build.rib_phase)) * 4 - 2.6, 0.0, 1.0)
    image = paint(image, 330.0, inside(arch, _EDGE_MM))
    image = paint(image, 430.0 - 320.0 * disc, inside(vertebra, _EDGE_MM))
    spongy = 190.0 + 30 * smooth_noise(frame, 1.2, rng) - 100.0 * disc
    image = paint(image, spongy, inside(vertebra + 0.03 * w, _EDGE_MM))
    return paint(image, 25.0, inside(canal, _EDGE_MM))
