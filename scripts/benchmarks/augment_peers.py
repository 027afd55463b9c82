"""The operations of ``augment.py`` as other packages do them, at the strengths of medaug's steps at magnitude 1."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, final

import numpy as np
from torch import Tensor

Interpolation = Literal["linear", "cubic"]
Pair = tuple[Tensor, Tensor]
Change = Callable[[Tensor, Tensor], Pair]

FLIPS: Final = (0, 1)
TURN_DEG: Final = (15.0, 15.0, 30.0)
SCALES: Final = (0.7, 1.4)
SHIFT: Final = 0.2
GAMMAS: Final = (0.6, 1.67)
SIGMAS: Final = (1.2, 1.2, 0.6)
NOISE: Final = 0.25
BIAS: Final = 0.06
_CELLS = 5
_FOLDING_FREE = {2: 0.48, 3: 0.40}
_AFFINE: Final = frozenset({"rotate", "scale", "shear", "translate"})
_MODES: Final = {"linear": "bilinear", "cubic": "bicubic"}


@final
@dataclass(frozen=True, slots=True)
class Elastic:
    """The displacement of medaug's elastic step: cubic B-splines, uniform at the control points."""

    limit: float
    deviation: float

    @staticmethod
    def of(shape: Sequence[int]) -> Elastic:
        """In voxels of an isotropic patch; the deviation is that between the control points as well."""
        dims = len(shape)
        limit = _FOLDING_FREE[dims] * (shape[0] - 1) / _CELLS
        return Elastic(limit, limit / math.sqrt(3) * (151 / 315) ** (dims / 2))


class Build(Protocol):
    """Makes the change of one image (C, *S) and its labels (1, *S) that does some operations, each for certain."""

    def __call__(
        self, operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation
    ) -> Change:
        """What a loop over a batch calls; every operation must be one that the package has."""
        ...


def monai_smooth(operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation) -> Change:
    """MONAI's dictionary transforms; in 3D an affine map and then a field that is straight between its points."""
    return _monai(operations, shape, interpolation, is_fused=len(shape) == 2)


def monai_fused(operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation) -> Change:
    """MONAI's dictionary transforms; affine map and displacement resampled once."""
    return _monai(operations, shape, interpolation, is_fused=True)


def _monai(
    operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation, *, is_fused: bool
) -> Change:
    # plain tensors: medaug's batches carry no affine either, and MONAI is faster without
    _load("monai.data", "set_track_meta")(False)
    both, modes = ("image", "label"), (_MODES[interpolation], "nearest")
    sampled = {"keys": both, "prob": 1.0, "mode": modes, "padding_mode": "border"}
    chain: list[object] = [
        _monai_class("RandFlipd")(both, 0.5, axis) for axis in FLIPS if "flip" in operations
    ]
    ranges = _monai_ranges(operations, shape)
    if "elastic" not in operations or not is_fused:
        chain += [
            _monai_class("RandAffined")(**sampled, **ranges, spatial_size=shape, cache_grid=True)
        ] * bool(ranges)
    if "elastic" in operations:
        chain += [_monai_elastic(shape, sampled, ranges) if is_fused else _monai_field(shape, modes)]
    chain += [MONAI_GREY[name](len(shape)) for name in operations if name in MONAI_GREY]
    whole = _monai_class("Compose")(chain)
    whole.set_random_state(seed=0)

    def change(image: Tensor, labels: Tensor) -> Pair:
        made = whole({"image": image, "label": labels})
        return made["image"], made["label"]

    return change


def _monai_ranges(operations: Sequence[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """Ranges of the affine parts; those of the operations that are not asked for are left out."""
    dims = len(shape)
    turn = [math.radians(angle) for angle in TURN_DEG]
    shear = 0.4 / (dims * (dims - 1))
    ranges = {
        "rotate": ("rotate_range", turn if dims == 3 else turn[2:]),
        "scale": ("scale_range", [(SCALES[0] - 1, SCALES[1] - 1)] * dims),
        "shear": ("shear_range", [shear] * (dims * (dims - 1))),
        "translate": ("translate_range", [SHIFT * n for n in shape]),
    }
    return dict(ranges[name] for name in operations if name in ranges)


def _monai_elastic(shape: tuple[int, ...], sampled: dict[str, Any], ranges: dict[str, Any]) -> object:
    """Displacement and affine map in one."""
    elastic, cell = Elastic.of(shape), (shape[0] - 1) / _CELLS
    if len(shape) == 2:
        strength = elastic.deviation / 0.83  # what bicubic interpolation leaves of white noise
        return _monai_class("Rand2DElasticd")(
            **sampled,
            **ranges,
            spacing=(cell, cell),
            magnitude_range=(strength, strength),
            spatial_size=shape,
        )
    # a Gaussian as wide as the cubic B-spline, and what it leaves of white noise
    sigma = cell / math.sqrt(3)
    strength = elastic.deviation * math.sqrt(3) * (2 * math.sqrt(math.pi) * sigma) ** 1.5
    return _monai_class("Rand3DElasticd")(
        **sampled,
        **ranges,
        sigma_range=(sigma, sigma),
        magnitude_range=(strength, strength),
        spatial_size=shape,
    )


def _monai_field(shape: tuple[int, ...], modes: tuple[str, str]) -> object:
    """A displacement of its own, interpolated from a coarse lattice."""
    strength = Elastic.of(shape).deviation * math.sqrt(3) / (2 / 3) ** (len(shape) / 2)
    return _monai_class("RandSmoothDeformd")(
        ("image", "label"),
        spatial_size=shape,
        rand_size=(_CELLS + 1,) * len(shape),
        field_mode="trilinear",
        align_corners=True,
        prob=1.0,
        def_range=2 * strength / shape[0],
        grid_mode=modes,
        grid_padding_mode="border",
        grid_align_corners=True,
    )


def _monai_grey(name: str, **options: object) -> Callable[[int], object]:
    def make(_dims: int) -> object:
        return _monai_class(name)(["image"], prob=1.0, **options)

    return make


def _monai_blur(_dims: int) -> object:
    ranges = {f"sigma_{axis}": (1e-3, limit) for axis, limit in zip("xyz", SIGMAS, strict=True)}
    return _monai_class("RandGaussianSmoothd")(["image"], prob=1.0, **ranges)


def _monai_low_resolution(dims: int) -> object:
    drawn = {2: "bilinear", 3: "trilinear"}[dims]
    lose = _monai_class("RandSimulateLowResolutiond")
    return lose(["image"], prob=1.0, zoom_range=(0.4, 1.0), upsample_mode=drawn)


# In the order of a scan. The second half stands in no pipeline here: single operations alone are compared.
MONAI_GREY: Final[dict[str, Callable[[int], object]]] = {
    "gamma": _monai_grey("RandAdjustContrastd", gamma=GAMMAS),
    "bias_field": _monai_grey("RandBiasFieldd", degree=3, coeff_range=(-BIAS, BIAS)),
    "blur": _monai_blur,
    "gaussian_noise": _monai_grey("RandGaussianNoised", std=NOISE),
    "brightness": _monai_grey("RandShiftIntensityd", offsets=0.3),
    "contrast": _monai_grey("RandScaleIntensityFixedMeand", factors=0.3),
    "histogram_warp": _monai_grey("RandHistogramShiftd", num_control_points=6),
    "sharpen": _monai_grey("RandGaussianSharpend", alpha=(0.0, 1.0)),
    "low_resolution": _monai_low_resolution,
    "rician_noise": _monai_grey("RandRicianNoised", std=NOISE, sample_std=True),
    "spikes": _monai_grey("RandKSpaceSpikeNoised"),
}


def torchio(operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation) -> Change:
    """TorchIO's transforms of a subject; affine map and displacement resampled once."""
    del interpolation  # linear: TorchIO is a peer in 3D alone
    tio = importlib.import_module("torchio")
    affine: dict[str, object] = {"scales": 0, "degrees": 0}
    affine |= {"scales": SCALES} if "scale" in operations else {}
    affine |= {"degrees": tuple(TURN_DEG)} if "rotate" in operations else {}
    affine |= {"translation": tuple(SHIFT * n for n in shape)} if "translate" in operations else {}
    elastic = {
        "num_control_points": _CELLS + 3,
        "max_displacement": Elastic.of(shape).limit,
        "locked_borders": 0,
    }
    spatial: dict[tuple[bool, bool], Callable[[], list[Any]]] = {
        (True, True): lambda: [
            tio.RandomAffineElasticDeformation(affine_kwargs=affine, elastic_kwargs=elastic)
        ],
        (True, False): lambda: [tio.RandomAffine(**affine)],
        (False, True): lambda: [tio.RandomElasticDeformation(**elastic)],
        (False, False): list,
    }
    chain = [tio.RandomFlip(axes=FLIPS, flip_probability=0.5)] * ("flip" in operations)
    chain += spatial[not _AFFINE.isdisjoint(operations), "elastic" in operations]()
    grey = {
        "gamma": lambda: tio.RandomGamma(log_gamma=tuple(math.log(gamma) for gamma in GAMMAS)),
        "bias_field": lambda: tio.RandomBiasField(coefficients=BIAS, order=3),
        "blur": lambda: tio.RandomBlur(std=tuple(bound for sigma in SIGMAS for bound in (0, sigma))),
        "gaussian_noise": lambda: tio.RandomNoise(std=(0, NOISE)),
    }
    whole = tio.Compose([*chain, *(grey[name]() for name in operations if name in grey)])

    def change(image: Tensor, labels: Tensor) -> Pair:
        subject = tio.Subject(image=tio.ScalarImage(tensor=image), label=tio.LabelMap(tensor=labels))
        made = whole(subject)
        return made["image"].data, made["label"].data

    return change


def batchgenerators(
    operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation
) -> Change:
    """The transforms of batchgeneratorsv2, nnU-Net's augmentation."""
    v2 = "batchgeneratorsv2.transforms"
    rng = np.random.default_rng(0)
    chain: list[Callable[..., Any]] = []
    if not {"elastic", *_AFFINE}.isdisjoint(operations):
        chain.append(_batchgenerators_spatial(operations, shape, interpolation))
    if "flip" in operations:
        chain.append(_load(f"{v2}.spatial.mirroring", "MirrorTransform")(allowed_axes=FLIPS))
    if "gamma" in operations:
        options = {
            "p_invert_image": 0.5,
            "synchronize_channels": False,
            "p_per_channel": 1,
            "p_retain_stats": 0,
        }
        chain.append(_load(f"{v2}.intensity.gamma", "GammaTransform")(gamma=GAMMAS, **options))
    if "blur" in operations:
        # it times both ways of a convolution when it first meets a width, as nnU-Net lets it
        chain.append(
            _load(f"{v2}.noise.gaussian_blur", "GaussianBlurTransform")(
                blur_sigma=lambda _shape, dim: rng.uniform(1e-3, SIGMAS[dim - 1]), benchmark=True
            )
        )
    if "gaussian_noise" in operations:
        chain.append(
            _load(f"{v2}.intensity.gaussian_noise", "GaussianNoiseTransform")(noise_variance=(0, NOISE))
        )

    # grey values change in place: only resampling makes an image of its own
    is_moved = not {"elastic", *_AFFINE}.isdisjoint(operations)

    def change(image: Tensor, labels: Tensor) -> Pair:
        made = {"image": image if is_moved else image.clone(), "segmentation": labels}
        for one in chain:
            made = one(**made)
        return made["image"], made["segmentation"]

    return change


def _batchgenerators_spatial(
    operations: Sequence[str], shape: tuple[int, ...], interpolation: Interpolation
) -> Callable[..., Any]:
    elastic, rng = Elastic.of(shape), np.random.default_rng(0)
    turns = [math.radians(angle) for angle in TURN_DEG]
    # the largest of the independent displacements of a smooth field lies at about so many deviations
    peak = {2: 2.3, 3: 2.7}[len(shape)] * elastic.deviation
    made: Callable[..., Any] = _load("batchgeneratorsv2.transforms.spatial.spatial", "SpatialTransform")(
        patch_size=shape,
        patch_center_dist_from_border=[(0.5 - SHIFT) * n for n in shape],
        random_crop="translate" in operations,
        p_elastic_deform=float("elastic" in operations),
        elastic_deform_scale=1 / (_CELLS * math.sqrt(3)),
        elastic_deform_magnitude=peak,
        p_rotation=float("rotate" in operations),
        rotation=lambda dim, image: rng.uniform(-1, 1) * turns[dim if image.ndim == 4 else 2],
        p_scaling=float("scale" in operations),
        scaling=tuple(1 / scale for scale in reversed(SCALES)),
        mode_seg="nearest",
        border_mode_seg="border",
        mode_image=_MODES[interpolation],
        padding_mode_image="border",
    )
    return made


def _monai_class(name: str) -> Callable[..., Any]:
    return _load("monai.transforms", name)


def _load(module: str, name: str) -> Callable[..., Any]:
    made: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return made
