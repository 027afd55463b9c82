"""Training with differential privacy: gradients clipped by patient, with noise, and what they cost; the only home of Opacus.

DP-SGD (Abadi et al., CCS 2016). In each step every patient is drawn with the same chance, independently (Poisson
sampling). The gradient of a patient is the sum over the samples that the patient owns; it is clipped as a whole, so one
patient changes the sum by no more than the clip norm, and normal noise of a multiple of that norm hides the change. A
step that drew nobody adds its noise like any other: one that did nothing would tell that nobody was drawn, which the
accountants do not count on. The sum is divided by the expected number of patients, which is known, not by the drawn one.

What is spent is told by two accountants that know nothing of each other, privacy random variables (Opacus) and privacy
loss distributions (dp-accounting); where they differ by more than 1% nothing is trained.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from medaug.core.budget import PrivacyBudget, PrivacyRequest
from medaug.core.errors import BudgetExceededError, ConfigError, DependencyError
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State
from medaug.engine.entropy import Entropy, SeededEntropy, SystemEntropy, gaussian
from medaug.engine.launch import team

AGREEMENT = 0.01  # of epsilon: two accountants that differ by more are not believed

_SHORT = 0.01  # of epsilon: how much of what was asked may be left over
_SEARCH_ERROR, _TOLD_ERROR = 0.004, 0.003  # of epsilon, in the search for the noise and in what is told
_STEADY = 0.8  # epsilon falls about as fast as noise grows; a little less than that converges
_TRIES = 20


@final
@dataclass(frozen=True, slots=True)
class PrivacyPlan:
    """How a training will keep its promise.

    Attributes:
        request: What was asked.
        patients: Of whom there are so many.
        sampling_rate: Chance of each to be in a step.
        steps: Of the training.
        noise_multiplier: Deviation of the noise over the clip norm; 0 where no epsilon was asked.
    """

    request: PrivacyRequest
    patients: int
    sampling_rate: float
    steps: int
    noise_multiplier: float

    @property
    def expected(self) -> float:
        """Patients in a step, on average."""
        return self.sampling_rate * self.patients

    @property
    def statement(self) -> str:
        """What will be done, in one line."""
        drawn = f"{self.expected:.0f} of {self.patients} patients a step, {self.steps} steps"
        if self.request.epsilon is None:
            return f"no noise, no privacy: {drawn}, for comparison"
        kept = f"epsilon {self.request.epsilon:g}, delta {self.request.delta:g}"
        return f"{kept}: noise of {self.noise_multiplier:.2f} clip norms, {drawn}"

    def budget(self, steps: int) -> PrivacyBudget | None:
        """What so many steps have spent; None where there was no noise."""
        if self.request.epsilon is None:
            return None
        spent = both_epsilons(self.noise_multiplier, self.sampling_rate, steps, self.request.delta)
        return PrivacyBudget(
            epsilon=max(spent),
            delta=self.request.delta,
            epsilon_prv=spent[0],
            epsilon_pld=spent[1],
            noise_multiplier=self.noise_multiplier,
            clip_norm=self.request.clip,
            sampling_rate=self.sampling_rate,
            steps=steps,
            patients=self.patients,
            randomness=self.request.randomness,
        )


def plan_privacy(request: PrivacyRequest, *, patients: int, batch_size: int, steps: int) -> PrivacyPlan:
    """Find the noise that keeps a promise, at least the noise that both accountants ask for.

    Args:
        request: The promise.
        patients: Who are learnt from.
        batch_size: Of them in a step, on average.
        steps: Of the training.

    Raises:
        ConfigError: If the batch is larger than the cohort, delta too large for it, several processes train, or no noise
            is found.
        DependencyError: If Opacus or dp-accounting is not installed.
    """
    if team().size > 1:
        raise ConfigError(
            "trains in one process", where="dp", hint="start it without torchrun: patients are sampled once"
        )
    if batch_size > patients:
        found = f"a step of {batch_size} patients cannot be drawn from {patients}"
        raise ConfigError(found, where="batch_size", hint="half of the patients or fewer hide each other")
    if request.delta >= 1 / patients:
        found = f"delta {request.delta:g} lets one of {patients} patients be told whole"
        raise ConfigError(found, where="dp.delta", expected=f"less than {1 / patients:.2g}")
    rate = batch_size / patients
    noise = 0.0
    if request.epsilon is not None:
        noise = noise_for(request.epsilon, request.delta, rate, steps)
    return PrivacyPlan(request, patients, rate, steps, noise)


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """A noise multiplier at which neither accountant says more than epsilon, and little less.

    Raises:
        ConfigError: If the accountants find none, or do not agree.
        DependencyError: If one is not installed.
    """
    noise = _loose_noise(epsilon, delta, sampling_rate, steps)
    for _ in range(_TRIES):
        found = prv_epsilon(noise, sampling_rate, steps, delta, error=_SEARCH_ERROR * epsilon)
        if (1 - _SHORT) * epsilon <= found <= epsilon:
            break
        noise *= (found / ((1 - _SHORT / 2) * epsilon)) ** _STEADY
    while max(both_epsilons(noise, sampling_rate, steps, delta)) > epsilon:
        noise *= 1 + _SHORT
    return noise


@lru_cache(maxsize=64)
def both_epsilons(
    noise_multiplier: float, sampling_rate: float, steps: int, delta: float
) -> tuple[float, float]:
    """Epsilon by privacy random variables and by privacy loss distributions.

    Raises:
        ConfigError: If they differ by more than 1%.
        DependencyError: If one is not installed.
    """
    pld = pld_epsilon(noise_multiplier, sampling_rate, steps, delta)
    prv = prv_epsilon(noise_multiplier, sampling_rate, steps, delta, error=_TOLD_ERROR * pld)
    if abs(prv - pld) > AGREEMENT * min(prv, pld):
        found = f"two accountants say epsilon {prv:.4g} and {pld:.4g}"
        raise ConfigError(found, where="dp", hint="change epsilon, delta, steps or batch_size a little")
    return prv, pld


def prv_epsilon(
    noise_multiplier: float, sampling_rate: float, steps: int, delta: float, *, error: float
) -> float:
    """Epsilon by privacy random variables: an upper bound, too high by ``error`` at most.

    Raises:
        ConfigError: If the accountant finds none.
        DependencyError: If Opacus is not installed.
    """
    accountant = _installed("opacus.accountants").PRVAccountant()
    accountant.history = [(noise_multiplier, sampling_rate, steps)]
    with _accounting():
        return float(accountant.get_epsilon(delta, eps_error=min(0.01, error)))


def pld_epsilon(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Epsilon by privacy loss distributions, rounded to the safe side.

    Raises:
        ConfigError: If the accountant finds none.
        DependencyError: If dp-accounting is not installed.
    """
    accounting, pld = _installed("dp_accounting"), _installed("dp_accounting.pld")
    step = accounting.PoissonSampledDpEvent(sampling_rate, accounting.GaussianDpEvent(noise_multiplier))
    accountant = pld.PLDAccountant(accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    with _accounting():
        accountant.compose(accounting.SelfComposedDpEvent(step, steps))
        return float(accountant.get_epsilon(delta))


def _loose_noise(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """What Renyi moments ask for: too much, but found in no time and whatever epsilon is."""
    utilities = _installed("opacus.accountants.utils")
    with _accounting():
        found = utilities.get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=sampling_rate,
            steps=steps,
            accountant="rdp",
            epsilon_tolerance=0.01 * epsilon,
        )
    return float(found)


@contextmanager
def _accounting() -> Iterator[None]:
    """Say in our words what an accountant cannot do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of orders and rounding that the other accountant would betray
            yield
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        hint = "ask for another epsilon or delta, or change steps or batch_size"
        raise ConfigError("no noise keeps this promise", where="dp", hint=hint) from error


def _installed(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of their own dependencies
            return importlib.import_module(name)
    except ImportError as error:
        hint = "install it with `pip install medaug[dp]`"
        package = name.split(".", maxsplit=1)[0].replace("_", "-")
        raise DependencyError(f"differential privacy needs {package}", hint=hint) from error


def check_private(module: nn.Module) -> None:
    """Refuse a network whose gradients cannot be told apart by patient.

    Raises:
        ConfigError: If it mixes the samples of a batch (batch norm, running statistics), reparametrises its weights
            (spectral norm), changes values in place, or holds weights outside its layers.
        DependencyError: If Opacus is not installed.
    """
    for name, part in module.named_modules():
        reason = _reason(part)
        if reason is not None:
            raise ConfigError(f"{reason} ({name or type(part).__name__})", where="dp", expected="none of it")
    errors = _installed("opacus.validators").ModuleValidator.validate(module, strict=False)
    if errors:
        raise ConfigError(str(errors[0]).split(". ", 1)[0], where="dp")


def _reason(part: nn.Module) -> str | None:
    """Why a part of a network has no gradient of a patient alone; None if it has."""
    own = [p for p in part.parameters(recurse=False) if p.requires_grad]
    if parametrize.is_parametrized(part) or any(
        name.endswith("_u") for name, _ in part.named_buffers(recurse=False)
    ):
        return "spectral norm or another parametrisation of weights takes no gradient by patient"
    if isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 (torch has no public name for all of them)
        return "batch norm mixes the patients of a step"
    if any(True for _ in part.buffers(recurse=False)):
        return "running statistics are of real lesions and carry no noise"
    if getattr(part, "inplace", False):
        return "values changed in place spoil the gradients by patient"
    if own and any(True for _ in part.children()):
        return "a weight outside a layer takes no gradient by patient"
    return None


@final
class PrivateGradients:
    """Draws the patients of each step, and gives a network their clipped, noised gradient.

    Args:
        module: Network to train; whatever else sees real lesions breaks the promise.
        plan: The promise.
        seed: Used where the request says ``seeded``.

    Raises:
        ConfigError: If the network mixes patients; see :func:`check_private`.
        DependencyError: If Opacus is not installed.
    """

    def __init__(self, module: nn.Module, plan: PrivacyPlan, seed: SeedTree) -> None:
        check_private(module)
        self._module, self._plan, self._seed = module, plan, seed
        self._hooks: Any = _installed("opacus").GradSampleModule(module, loss_reduction="sum")
        self._taken = 0
        self._drawn: Int[np.ndarray, " P"] | None = None
        self._entropy: Entropy = SystemEntropy()

    @property
    def budget(self) -> PrivacyBudget | None:
        """What the steps taken so far have spent; None where there was no noise."""
        return self._plan.budget(self._taken)

    def draw(self) -> Int[np.ndarray, " P"]:
        """The patients of the next step: each with the same chance, whoever else is in it; often another number.

        Raises:
            BudgetExceededError: If all steps of the plan are taken.
        """
        if self._taken >= self._plan.steps:
            raise BudgetExceededError(
                f"the budget was planned for {self._plan.steps} steps, and all are taken",
                hint="ask for more steps in a new run folder",
            )
        if self._plan.request.randomness == "seeded":
            self._entropy = SeededEntropy(self._seed.child("private", self._taken))
        self._taken += 1
        self._drawn = np.flatnonzero(self._entropy.uniform(self._plan.patients) < self._plan.sampling_rate)
        return self._drawn

    def fill(self, losses: Float[Tensor, " B"] | None, owners: Int[Tensor, " B"] | None) -> None:
        """Put the step's gradient into the network: the clipped sums of the drawn patients, and noise.

        Args:
            losses: Of each sample, each a matter of that sample alone; None where nobody was drawn.
            owners: For each sample the place of its patient among the drawn.

        Raises:
            ValueError: If no patients were drawn for it, or the samples are of others.
        """
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            raise ValueError("patients are drawn once for every gradient")
        weights = [p for p in self._module.parameters() if p.requires_grad]
        sums = [torch.zeros_like(p) for p in weights]
        if losses is not None and owners is not None:
            if len(owners) != len(losses) or not 0 <= int(owners.min()) <= int(owners.max()) < len(drawn):
                raise ValueError("a sample is of nobody who was drawn")
            sums = self._clipped(weights, losses, owners, len(drawn))
        elif len(drawn):
            raise ValueError("patients were drawn and have no sample")
        deviation = self._plan.noise_multiplier * self._plan.request.clip
        for weight, total in zip(weights, sums, strict=True):
            noise = self._noise(weight) if deviation else torch.zeros_like(weight)
            weight.grad = (total + deviation * noise) / self._plan.expected

    def _clipped(
        self, weights: list[nn.Parameter], losses: Tensor, owners: Tensor, count: int
    ) -> list[Tensor]:
        """For each weight the sum of the patients' gradients, each clipped as a whole; one that is no number is none."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            losses.sum().backward()
        rows = []
        for weight in weights:
            row = torch.zeros(count, *weight.shape, dtype=weight.dtype, device=weight.device)
            sample = getattr(weight, "grad_sample", None)
            rows.append(row if sample is None else row.index_add_(0, owners.to(row.device), sample))
            weight.grad_sample = None  # type: ignore[attr-defined]
        norms = torch.stack([row.flatten(1).double().square().sum(1) for row in rows]).sum(0).sqrt()
        factors = torch.where(norms.isfinite(), (self._plan.request.clip / norms).clamp(max=1), 0)
        return [
            torch.einsum("n,n...->...", factors.to(row.dtype), row.nan_to_num(0.0, 0.0, 0.0)) for row in rows
        ]

    def _noise(self, weight: Tensor) -> Tensor:
        drawn = gaussian(self._entropy, weight.numel()).reshape(weight.shape)
        return torch.from_numpy(drawn).to(device=weight.device, dtype=weight.dtype)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """While the network only judges: no gradients by patient are kept, and none are its own."""
        self._hooks.disable_hooks()
        self._module.requires_grad_(requires_grad=False)
        try:
            yield
        finally:
            self._module.requires_grad_(requires_grad=True)
            self._hooks.enable_hooks()

    def state(self) -> State:
        """How many steps were taken, and under which promise."""
        plan = self._plan
        figures = (plan.noise_multiplier, plan.sampling_rate, plan.request.clip)
        return {"steps": self._taken, "plan": [float(figure) for figure in figures]}

    def restore(self, state: State) -> None:
        """Go on counting.

        Raises:
            ValueError: If the state is of another promise.
        """
        taken, figures = state.get("steps"), state.get("plan")
        if not isinstance(taken, int) or figures != self.state()["plan"]:
            raise ValueError("the steps taken were under another promise")
        self._taken = taken
