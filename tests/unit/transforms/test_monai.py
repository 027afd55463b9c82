"""Inside a MONAI pipeline: one dictionary transform, with the affine, the random state and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import NormalizeIntensityd

from medaug.core.errors import ConfigError
from medaug.transforms import Augmentd

STEPS = {"kind": "classical", "steps": [{"step": "rotate"}, {"step": "scale"}, {"step": "gamma"}]}


def sample(shape=(20, 18, 10), spacing_mm=(0.8, 0.8, 2.0)):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(1, *shape)).astype(np.float32))
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    labels = (image > 1).to(torch.uint8)
    return {
        "image": MetaTensor(image, affine=affine),
        "label": MetaTensor(labels, affine=affine),
        "name": "one",
    }


def test_runs_in_compose_and_passes_the_rest_on():
    pipeline = Compose([NormalizeIntensityd("image"), Augmentd("image", "label", STEPS)])
    pipeline.set_random_state(seed=3)
    before = sample()
    after = pipeline(before)
    assert after["name"] == "one"
    assert after["image"].shape == before["image"].shape
    assert after["label"].dtype == torch.uint8
    assert not torch.equal(after["image"].as_tensor(), before["image"].as_tensor())
    assert {record["kind"] for record in after["augment_record"]} == {"rotate", "scale", "gamma"}
    json.dumps(after["augment_record"])


def test_the_random_state_decides():
    first, second = Augmentd("image", "label", STEPS), Augmentd("image", "label", STEPS)
    for transform in (first, second):
        transform.set_random_state(seed=7)
    drawn = [transform(sample())["augment_record"] for transform in (first, second)]
    assert drawn[0] == drawn[1]
    assert first(sample())["augment_record"] != drawn[0]


def test_the_affine_puts_every_voxel_where_it_was():
    transform = Augmentd(
        "image", "label", {"kind": "classical", "steps": [{"step": "rotate"}, {"step": "translate"}]}
    )
    transform.set_random_state(seed=1)
    shape = (20, 18, 10)
    places = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
    affine = torch.diag(torch.tensor([0.8, 0.8, 2.0, 1.0], dtype=torch.float64))
    moved = transform(
        {"image": MetaTensor(torch.from_numpy(places), affine=affine), "label": torch.zeros(1, *shape)}
    )
    voxel = np.array([10, 9, 5, 1.0])
    world = np.asarray(moved["image"].affine) @ voxel
    seen = moved["image"].as_tensor()[:, 10, 9, 5].numpy() * np.array([0.8, 0.8, 2.0])
    assert np.allclose(world[:3], seen, atol=1e-3)


def test_a_prediction_comes_back():
    transform = Augmentd(
        "image", None, {"kind": "classical", "steps": [{"step": "rotate"}, {"step": "elastic"}]}
    )
    transform.set_random_state(seed=2)
    axes = np.meshgrid(*[np.linspace(0, 3, n) for n in (30, 32)], indexing="ij")
    image = torch.from_numpy(np.sin(sum(axes)).astype(np.float32))[None]
    moved = transform({"image": image})
    back = transform.inverse_of(moved["image"], moved["augment_record"], (1.0, 1.0))
    assert (back - image)[:, 9:-9, 9:-9].abs().max() < 0.05


def test_arrays_stay_arrays():
    data = {"image": np.ones((1, 8, 8), np.float64), "label": np.ones((8, 8), np.int16)}
    after = Augmentd("image", "label", STEPS)(data)
    assert isinstance(after["image"], np.ndarray)
    assert (after["image"].dtype, after["label"].dtype, after["label"].shape) == (
        np.float64,
        np.int16,
        (8, 8),
    )


def test_mixing_needs_a_batch():
    with pytest.raises(ConfigError, match="cutmix is no policy of steps"):
        Augmentd("image", "label", {"kind": "cutmix"})
