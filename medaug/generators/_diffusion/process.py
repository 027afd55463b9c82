"""The diffusion process: noise is added to lesions in training, and removed step by step in sampling.

Forward: Ho et al., Denoising diffusion probabilistic models (NeurIPS 2020), on the cosine schedule of Nichol and
Dhariwal (ICML 2021). Back: Song et al., Denoising diffusion implicit models (ICLR 2021), without fresh noise, so
that a lesion depends on the noise it began with alone.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler
from torch import Tensor

from medaug.generators._diffusion.networks import Denoiser, Place

MOMENTS = 1000  # of the forward process


def draw_moments(count: int, rng: np.random.Generator) -> Int[Tensor, " B"]:
    """Moments spread evenly over the process, one in each of ``count`` parts, in random order."""
    parts = (rng.permutation(count) + rng.random(count)) / count
    return torch.from_numpy((parts * MOMENTS).astype(np.int64).clip(0, MOMENTS - 1))


def noised(
    clean: Float[Tensor, "B C *S"], noise: Float[Tensor, "B C *S"], moment: Int[Tensor, " B"]
) -> tuple[Float[Tensor, "B C *S"], Float[Tensor, "B C *S"]]:
    """The noisy lesion at a moment, and the velocity the network shall find in it."""
    schedule = DDPMScheduler(MOMENTS, schedule="cosine", prediction_type="v_prediction")
    return schedule.add_noise(clean, noise, moment), schedule.get_velocity(clean, noise, moment)


def denoised(
    net: Denoiser, place: Place, noise: Float[Tensor, "B C *S"], steps: int
) -> Float[Tensor, "B C *S"]:
    """From pure noise to lesions in ``steps`` steps: what they add to the filled hosts, 0 outside the zone.

    The first step is taken at the last moment, where nothing but noise is left (Lin et al., WACV 2024, section 3.3).
    """
    schedule = DDIMScheduler(
        MOMENTS,
        schedule="cosine",
        prediction_type="v_prediction",
        clip_sample_min=-float(net.limit),
        clip_sample_max=float(net.limit),
        steps_offset=MOMENTS // steps - 1,
    )
    schedule.set_timesteps(steps)
    zone = place.zone
    lesion = zone * noise
    for moment in schedule.timesteps.tolist():
        velocity = net(lesion, place, torch.full((len(noise),), moment, device=noise.device))
        lesion = zone * schedule.step(velocity.to(lesion.dtype), moment, lesion)[0]
    change: Tensor = lesion * net.scale
    return change
