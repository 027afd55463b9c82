"""The way into MONAI's dictionaries: an augmentation of medaug as one transform of ``monai.transforms.Compose``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, RandomizableTransform
from torch import Tensor

from medaug.core.errors import ConfigError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling, Warp, unwarp_images
from medaug.transforms._steps.apply import Record, apply_records, compose
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._steps.registry import read_record
from medaug.transforms._steps.step import Facts
from medaug.transforms.base import TransformConfig, parse_transforms

RECORD = "augment_record"


@final
class Augmentd(MapTransform, RandomizableTransform):
    """A medaug augmentation inside a MONAI pipeline: image and labels of one dictionary, one resampling.

    The affine of a ``MetaTensor`` follows turns, shifts and changes of size (a displacement has no affine). What was drawn
    is left under ``augment_record``, so that :meth:`inverse` can bring predictions back and a sample can be replayed.

    Args:
        image: Key of the image, (C, I, J) or (C, I, J, K), normalised.
        label: Key of the label map, (1, *S) or (*S) integers; None where there is none.
        config: Settings as in a YAML file (``{"kind": "randaugment", "n": 2}``), or parsed ones. Mixing needs a batch and is
            refused.
        unit: What the grey values mean.
        modality: DICOM modality code, which chooses the steps.

    Raises:
        ConfigError: If a setting is wrong, or the augmentation mixes samples.

    Example:
        >>> from monai.transforms import Compose
        >>> from medaug.transforms import Augmentd
        >>> pipeline = Compose([Augmentd("image", "label", {"kind": "trivialaugment"}, modality="MR")])
    """

    def __init__(
        self,
        image: str,
        label: str | None = None,
        config: Mapping[str, object] | TransformConfig | None = None,
        *,
        unit: Unit | str = Unit.ARBITRARY,
        modality: str = "",
    ) -> None:
        MapTransform.__init__(self, [image] if label is None else [image, label])
        RandomizableTransform.__init__(self, prob=1.0)
        settings = config if config is not None else {"kind": "classical"}
        parsed = parse_transforms(settings) if isinstance(settings, Mapping) else settings
        augment = parsed.build(Unit(unit), modality)
        if not isinstance(augment, PolicyAugment):
            raise ConfigError(
                f"{parsed.kind} is no policy of steps", expected="one that changes samples one by one"
            )
        self._augment, self._image, self._label, self._unit = augment, image, label, Unit(unit)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """A new dictionary with image and label changed and the record beside them; all else is passed on."""
        changed = dict(data)
        image = torch.as_tensor(data[self._image])
        batch = self._batch(data, image)
        # MONAI hands out numpy's older generator; its numbers seed one of ours
        rng = np.random.default_rng(self.R.randint(0, 1 << 31, size=4))
        (record,) = self._augment.draw(batch, [rng])
        return changed | self._applied(data, batch, record)

    def _batch(self, data: Mapping[Any, Any], image: Tensor) -> PatchBatch:
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        shape = tuple(plain.shape[1:])
        labels = torch.zeros((1, *shape), dtype=torch.uint8)
        if self._label is not None:
            ids = torch.as_tensor(data[self._label])
            plain_ids = ids.as_tensor() if isinstance(ids, MetaTensor) else ids
            # MONAI loads label maps as floating point
            whole = plain_ids.round().long() if plain_ids.is_floating_point() else plain_ids
            labels = whole.reshape(1, *shape)
        return PatchBatch(plain[None].float(), labels, (_spacing_mm(image),), self._unit)

    def _applied(self, data: Mapping[Any, Any], batch: PatchBatch, record: Record) -> dict[Any, Any]:
        moved = apply_records(batch, [record], self._augment.how)
        warp = compose(record, _facts(batch))
        found: dict[Any, Any] = {RECORD: tuple(step.model_dump(mode="json") for step in record)}
        found[self._image] = _like(data[self._image], moved.images[0], warp)
        if self._label is not None:
            before = data[self._label]
            found[self._label] = _like(before, moved.labels[0].reshape(tuple(before.shape)), warp)
        return found

    def inverse_of(
        self, prediction: Tensor, record: Sequence[Mapping[str, object]], spacing_mm: Sequence[float]
    ) -> Tensor:
        """Bring a prediction on a moved image back to the image before the move, for test-time augmentation.

        Args:
            prediction: (C, *S) scores of the moved image.
            record: What :data:`RECORD` holds of that sample.
            spacing_mm: Of the image.
        """
        steps = read_record(record)
        shape = tuple(prediction.shape[1:])
        warp = compose(steps, Facts(shape, tuple(spacing_mm), self._unit))
        how = Resampling("linear", "nearest", self._augment.how.padding)
        return unwarp_images(prediction[None], [warp], how, shape)[0]


def _facts(batch: PatchBatch) -> Facts:
    return Facts(tuple(batch.labels.shape[1:]), batch.spacing_mm[0], batch.unit)


def _spacing_mm(image: Tensor) -> tuple[float, ...]:
    """Lengths of the columns of a MetaTensor's affine; 1 mm for a plain tensor."""
    dims = image.dim() - 1
    if not isinstance(image, MetaTensor):
        return (1.0,) * dims
    affine = np.asarray(image.affine, dtype=np.float64)
    return tuple(float(length) for length in np.linalg.norm(affine[:3, :3], axis=0)[:dims])


def _like(before: Any, after: Tensor, warp: Warp) -> Any:  # noqa: ANN401 - MONAI takes arrays and tensors alike
    """The changed tensor in the form of the input; the affine of a MetaTensor follows."""
    if isinstance(before, MetaTensor):
        matrix, dims = np.eye(4), warp.dims
        matrix[:dims, :dims], matrix[:dims, 3] = warp.matrix[:-1, :-1], warp.matrix[:-1, -1]
        affine = torch.as_tensor(np.asarray(before.affine, dtype=np.float64) @ matrix)
        return MetaTensor(after.to(before.dtype), meta=dict(before.meta) | {"affine": affine})
    return after.numpy().astype(before.dtype) if isinstance(before, np.ndarray) else after.to(before.dtype)
