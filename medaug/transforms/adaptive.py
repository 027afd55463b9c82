"""``adaptive``: which kinds of steps, how often and how strongly, learnt by short trainings on an inner fold.

A search over a weight and a strength for each group of steps by the tree-structured Parzen estimator (Bergstra et al.,
NeurIPS 2011), as Optuna implements it. Groups instead of single steps, so that few trials suffice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Final, Literal, final

from pydantic import Field

from medaug.core.errors import DependencyError
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.transforms import classical
from medaug.transforms._steps.policy import Chance
from medaug.transforms._steps.registry import Preset, step_kind
from medaug.transforms.base import LearntConfig, TransformConfig, Tried

# A step belongs to a group by its place in the order of a scan
_GROUPS: Final = {0: "geometry", 1: "contrast", 2: "detail", 3: "artefacts", 4: "artefacts", 5: "noise"}
_WEIGHTS, _STRENGTHS = (0.0, 2.0), (0.25, 1.5)
_RANDOM_TRIALS = 4  # before the estimator has anything to go by; the default is one of them


@final
class Config(LearntConfig):
    """Settings of the search. It starts from classical augmentation and never ends below it on the inner fold."""

    kind: Literal["adaptive"] = "adaptive"
    preset: Preset = Field(default="auto", description="the kind of image; auto goes by modality and unit")

    def check_packages(self) -> None:
        """See :meth:`LearntConfig.check_packages`."""
        _optuna()

    def propose(self, tried: Sequence[Tried], unit: Unit, modality: str, seed: SeedTree) -> dict[str, float]:
        """First the classical default, then what the estimator expects most of.

        Raises:
            DependencyError: If Optuna is not installed.
        """
        optuna = _optuna()
        names = [
            name
            for group in self._groups(unit, modality)
            for name in (f"{group}_weight", f"{group}_strength")
        ]
        if not tried:
            return dict.fromkeys(names, 1.0)
        ranges = {name: _WEIGHTS if name.endswith("weight") else _STRENGTHS for name in names}
        space = {name: optuna.distributions.FloatDistribution(*ends) for name, ends in ranges.items()}
        # a sampler of its own for every trial: a search that was interrupted goes on as if it had not been
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=_RANDOM_TRIALS, seed=seed.child("propose", len(tried)).seed % (1 << 32)
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for one in tried:
            study.add_trial(
                optuna.trial.create_trial(params=one.parameters, distributions=space, value=one.score)
            )
        return {name: round(float(value), 4) for name, value in study.ask(space).params.items()}

    def policy(self, parameters: Mapping[str, float], unit: Unit, modality: str) -> TransformConfig:
        """Classical augmentation, its chances times the weight and its magnitudes times the strength of each group."""
        scaled = [_scaled(chance, parameters) for chance in self._default(unit, modality)]
        return classical.Config(steps=tuple(chance for chance in scaled if chance.probability > 0))

    def _default(self, unit: Unit, modality: str) -> tuple[Chance, ...]:
        return classical.default_chances(self.preset, unit, modality)

    def _groups(self, unit: Unit, modality: str) -> tuple[str, ...]:
        """The groups that this kind of image has steps of."""
        return tuple(dict.fromkeys(_group(chance) for chance in self._default(unit, modality)))


def _group(chance: Chance) -> str:
    return _GROUPS[step_kind(chance.step).rank]


def _scaled(chance: Chance, parameters: Mapping[str, float]) -> Chance:
    group = _group(chance)
    weight, strength = parameters[f"{group}_weight"], parameters[f"{group}_strength"]
    low, high = chance.magnitude
    return Chance(
        step=chance.step,
        probability=round(min(1.0, chance.probability * weight), 4),
        magnitude=(round(min(1.0, low * strength), 4), round(min(1.0, high * strength), 4)),
    )


def _optuna() -> ModuleType:
    """The package of the search, without its messages.

    Raises:
        DependencyError: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        hint = "install it with `pip install medaug[policy]`"
        raise DependencyError("learning an augmentation policy needs optuna", hint=hint) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module
