"""Differential privacy: what a training is asked for, and what it has spent.

A mechanism is (epsilon, delta)-private when its answers on two data sets that differ in one patient satisfy
P(answer) <= exp(epsilon) P'(answer) + delta (Dwork and Roth, Found Trends Theor Comput Sci 2014).
"""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field, PositiveFloat, PositiveInt

from medaug.core.config import Frozen

Randomness = Literal["system", "seeded"]


@final
class PrivacyRequest(Frozen):
    """``dp`` of a generator's configuration; the unit is the patient."""

    epsilon: float | None = Field(
        gt=0,
        le=20,  # exp(20) hides nobody
        description="null: the same variant without noise, to compare with; nothing is claimed",
    )
    delta: float = Field(default=1e-5, gt=0, lt=1, description="smaller than one over the patients")
    clip: PositiveFloat = Field(default=1.0, description="largest norm of the gradient of one patient")
    patches: PositiveInt = Field(
        default=2, description="patches of a patient's own lesions that make its gradient"
    )
    randomness: Randomness = Field(
        default="system", description="seeded: repeatable, for tests; then nothing is claimed"
    )


@final
class PrivacyBudget(Frozen):
    """What a trained generator may have told of any one patient; it covers the weights and all that follows from them.

    The number of patients is taken as known to everybody.
    """

    epsilon: float = Field(gt=0, description="the larger of the two accountants' figures")
    delta: float = Field(gt=0, lt=1)
    unit: Literal["patient"] = "patient"
    adjacency: Literal["add or remove one"] = "add or remove one"
    epsilon_prv: float = Field(gt=0, description="by privacy random variables (Gopi et al., NeurIPS 2021)")
    epsilon_pld: float = Field(
        gt=0, description="by privacy loss distributions (Koskela et al., AISTATS 2020)"
    )
    noise_multiplier: float = Field(ge=0, description="deviation of the noise over the clip norm")
    clip_norm: float = Field(gt=0)
    sampling_rate: float = Field(gt=0, le=1, description="chance of each patient to be in a step")
    steps: int = Field(ge=1, description="steps that saw patients, empty ones included")
    patients: int = Field(ge=1)
    randomness: Randomness = Field(description="system: noise and sampling are the operating system's")

    @property
    def is_claimed(self) -> bool:
        """Whether the figure may be stated: noise that can be repeated hides nobody."""
        return self.randomness == "system"

    @property
    def statement(self) -> str:
        """The claim in one line, or that there is none."""
        if not self.is_claimed:
            return "no differential privacy: the noise was seeded"
        return f"differential privacy: epsilon {self.epsilon:.3g}, delta {self.delta:.2g}, unit {self.unit}"
