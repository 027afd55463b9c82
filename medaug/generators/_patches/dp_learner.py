"""Training on patches with differential privacy: what is the same whichever networks learn.

The learner alone holds the patients' records and the door to them, :class:`medaug.engine.dp.PrivateGradients`. A kind of
generator brings its networks, and is handed nothing of patients but those of a step, to say what each of them loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medaug.core.budget import PrivacyBudget, PrivacyRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State, restore_states, save_checkpoint, states_of
from medaug.engine.dp import PrivacyPlan, PrivateGradients, plan_privacy
from medaug.engine.loop import fit_loop
from medaug.generators._patches.batches import PatchChoice
from medaug.generators._patches.pictures import Watched
from medaug.generators._patches.records import Draw, Records, gather_records
from medaug.generators._patches.scene import Scene
from medaug.generators._patches.serving import TrainedConfig, card_of
from medaug.generators.base import CARD, WEIGHTS, LesionLibrary

_OF_ITS_CLASS = 3  # made lesions in a row of samples, before one of every class


class PrivateRecipe(TrainedConfig, PatchChoice, Protocol):
    """The part of a configuration that says how a private training goes."""

    @property
    def batch_size(self) -> int:
        """Patients in a step, on average."""
        ...

    @property
    def samples_every(self) -> int:
        """Steps between pictures of samples."""
        ...


class PrivateModel(Protocol):
    """Networks and optimisers; one of the networks learns from patients, all else follows from its gradients."""

    @property
    def config(self) -> PrivateRecipe:
        """How it is trained."""
        ...

    @property
    def private(self) -> nn.Module:
        """The network that learns from patients."""
        ...

    @property
    def averaged(self) -> nn.Module:
        """The network that is kept."""
        ...

    @property
    def beside(self) -> State:
        """What is kept beside its weights; nothing that was learnt."""
        ...

    def parts(self) -> Mapping[str, nn.Module | torch.optim.Optimizer]:
        """All that changes while training, by name."""
        ...

    def losses(self, drawn: Draw, step: int) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """What each sample of the patients loses, a matter of that sample alone, and whose it is."""
        ...

    def advance(self, step: int) -> dict[str, float]:
        """Follow the noisy gradient that lies in the private network; tells figures of that and of nobody."""
        ...

    def redrawn(self, place: Scene, rng: np.random.Generator) -> Float[Tensor, "B C *S"]:
        """The patches with lesions of their classes that the kept weights draw."""
        ...


@final
class PrivateLearner:
    """Takes private steps with a model.

    Args:
        model: The networks.
        records: The patches by patient.
        plan: What the patients are promised.
        seed: Root of all randomness that hides nobody.

    Raises:
        ConfigError: If the network mixes patients; see :func:`medaug.engine.dp.check_private`.
        DependencyError: If Opacus is not installed.
    """

    def __init__(self, model: PrivateModel, records: Records, plan: PrivacyPlan, seed: SeedTree) -> None:
        self._model, self._records, self._seed = model, records, seed
        self._each = plan.request.patches
        self._private = PrivateGradients(model.private, plan, seed)

    @property
    def budget(self) -> PrivacyBudget | None:
        """What the steps taken so far have spent."""
        return self._private.budget

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return self._records.shown

    def train_step(self, step: int) -> dict[str, float]:
        """One private gradient, and what the model makes of it; the figures have been through the noise."""
        patients = self._private.draw()
        if len(patients):
            drawn = self._records.draw(patients, self._each, self._seed.child("step", step, "patients"))
            self._private.fill(*self._losses(drawn, step))
        else:
            self._private.fill(None, None)
        with self._private.judging():
            return self._model.advance(step)

    def _losses(self, drawn: Draw, step: int) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Of each sample its share of the mean over its patient's patches, and whose it is."""
        losses, owners = self._model.losses(drawn, step)
        return losses / self._each, owners

    def samples(self, seed: SeedTree, rows_per_class: int = 2) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, three made of the class in its place, and one made of every class."""
        rows, classes = [], range(self._records.classes)
        for number in classes:
            rng = seed.child(number).rng()
            picked = self._records.pick(number, rows_per_class, rng)
            drawn_as = torch.as_tensor([number] * _OF_ITS_CLASS + list(classes))
            for n in range(rows_per_class):
                place = replace(picked.at(torch.full((len(drawn_as),), n)), class_index=drawn_as)
                with torch.no_grad():
                    made = self._model.redrawn(place, rng)
                rows.append(torch.cat([place.image[:1], made.float().cpu()]))
        return rows

    def state(self) -> State:
        """Weights, averages, optimisers, and what was spent."""
        return {**states_of(self._model.parts()), "private": self._private.state()}

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration and promise.

        Raises:
            ValueError: If the state is of another promise, or of none.
        """
        restore_states(self._model.parts(), state)
        private = state["private"]
        if not isinstance(private, dict):
            raise ValueError("nothing is told of what was spent")  # noqa: TRY004 (told by the loop)
        self._private.restore(private)


def fit_private(
    model: PrivateModel,
    request: PrivacyRequest,
    bank: LesionLibrary,
    run: RunDir,
    progress: Progress,
    seed: SeedTree,
) -> None:
    """Train with differential privacy; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Raises:
        ConfigError: If the promise cannot be kept; see :func:`medaug.engine.dp.plan_privacy`.
        DataError: If no lesion is large enough.
        DependencyError: If Opacus or dp-accounting is not installed.
        DivergedError: If a figure of the training is not finite.
    """
    config = model.config
    records = gather_records(bank, config, progress)
    plan = plan_privacy(
        request, patients=len(records.owned), batch_size=config.batch_size, steps=config.steps
    )
    progress.say(plan.statement)
    learner = PrivateLearner(model, records, plan, seed)
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label=f"{config.kind} with privacy")
    watched.picture()
    weights: State = {name: tensor.cpu() for name, tensor in model.averaged.state_dict().items()}
    budget = learner.budget
    spent = None if budget is None else budget.model_dump()
    save_checkpoint(run.path / WEIGHTS, {"net": weights, "privacy": spent, **model.beside})
    card_of(config, bank, weights).model_copy(update={"privacy": budget}).write(run.path / CARD)
