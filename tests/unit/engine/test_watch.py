"""The watch warns once, stops after a while, and says the same whether it was put aside or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medaug.core.errors import CollapsedError, DivergedError, OverfittedError, TrainingError
from medaug.engine.watch import Scores, VitalSigns, Watch

STEPS = 400
ALIKE = VitalSigns(variety=0.02)
LIVELY = VitalSigns(variety=0.8, scores=Scores(trained=1.0, unseen=0.6, made=-1.0))
BY_HEART = VitalSigns(scores=Scores(trained=1.0, unseen=-1.1, made=-1.0))


def told(watch: Watch, losses: Callable[[int], float], steps: int = STEPS) -> list[tuple[int, str]]:
    """What the watch says of a loss."""
    found = ((step, watch.losses(step, {"critic": losses(step)})) for step in range(steps))
    return [(step, said) for step, said in found if said]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once(value: float) -> None:
    watch = Watch(STEPS)
    watch.losses(0, {"critic": 1.0})
    with pytest.raises(DivergedError, match=r"loss critic is -?(nan|inf) at step 1; lower the learning rate"):
        watch.losses(1, {"critic": value})


def test_losses_that_wander_fall_or_rise_slowly_are_let_go_on() -> None:
    noise = np.random.default_rng(0).normal(size=STEPS)
    assert told(Watch(STEPS), lambda n: 2 + float(noise[n])) == []
    assert told(Watch(STEPS), lambda n: 100 * 0.97**n) == []
    assert told(Watch(STEPS), lambda n: 0.01 + 0.1 * n) == []
    assert told(Watch(STEPS), lambda n: 500.0 if n == 200 else 1.0) == []  # one bad batch


def test_a_loss_that_explodes_is_warned_of_and_then_stopped() -> None:
    watch = Watch(STEPS)
    with pytest.raises(
        DivergedError, match=r"loss critic is \d+ times its running median at step \d+; lower"
    ):
        told(watch, lambda n: 1.0 if n < 200 else 1.0 * 1.05 ** (n - 200))
    said = told(Watch(STEPS), lambda n: 1.0 if n < 200 else 20.0)
    assert [line for _, line in said] == [
        "warning: loss critic is 20 times its running median at step 229"
    ], said


def test_a_loss_that_is_absurd_from_the_start_is_stopped() -> None:
    with pytest.raises(DivergedError):
        told(Watch(STEPS), lambda n: 1e6, 100)


def look(watch: Watch, *signs: VitalSigns, first: int = 200) -> list[str]:
    found = [watch.signs(first + n * watch.every, sign) for n, sign in enumerate(signs)]
    return [said for said in found if said]


def test_lesions_all_alike_are_warned_of_once_and_then_stopped() -> None:
    watch = Watch(STEPS)
    assert look(watch, *[ALIKE] * 5) == [
        "warning: made lesions differ 0.02 times as much as real ones at step 220"
    ]
    with pytest.raises(CollapsedError, match=r"expected at least 0\.15; train shorter, weigh diversity more"):
        look(watch, ALIKE)


def test_recovery_starts_the_count_anew() -> None:
    assert len(look(Watch(STEPS), *[*[ALIKE] * 5, LIVELY] * 3)) == 3


def test_nothing_is_judged_before_the_classes_are_faded_in() -> None:
    assert look(Watch(STEPS), *[ALIKE] * 9, first=0) == []


def test_unknown_signs_are_no_trouble() -> None:
    assert look(Watch(STEPS), *[VitalSigns()] * 20) == []


def test_a_discriminator_that_memorises_is_warned_of_and_then_stopped() -> None:
    watch = Watch(STEPS)
    (said,) = look(watch, *[BY_HEART] * 5)
    assert (
        said == "warning: the discriminator knows its training lesions by heart: overfitting 1.05 at step 220"
    )
    with pytest.raises(OverfittedError, match="train shorter, lower the discriminator's learning rate"):
        look(watch, BY_HEART)


def test_a_discriminator_that_still_teaches_is_not_stopped() -> None:
    mild = VitalSigns(
        scores=Scores(trained=1.0, unseen=-0.7, made=-1.0)
    )  # tells unseen real ones from made ones
    unsure = VitalSigns(scores=Scores(trained=0.4, unseen=-0.5, made=-0.4))
    for signs in (mild, unsure):
        assert len(look(Watch(STEPS), *[signs] * 20)) == 1


def test_one_unlucky_look_at_unseen_lesions_is_smoothed_away() -> None:
    assert look(Watch(STEPS), *[LIVELY, LIVELY, BY_HEART] * 8) == []


def test_overfitting_is_measured_between_trained_and_made() -> None:
    def overfit(trained: float, unseen: float, made: float) -> float | None:
        watch = Watch(STEPS)
        watch.signs(0, VitalSigns(scores=Scores(trained, unseen, made)))
        return watch.overfit

    assert overfit(1.0, 1.0, -1.0) == 0
    assert overfit(1.0, -1.0, -1.0) == 1
    assert overfit(0.4, 5.0, 0.0) is None  # hardly told apart: no scale
    assert Watch(STEPS).overfit is None


def test_what_a_look_showed_has_names() -> None:
    watch = Watch(STEPS)
    watch.signs(0, LIVELY)
    assert watch.figures == {"variety": 0.8, "overfit": 0.2, "score_gap": 2.0}
    watch.signs(1, VitalSigns())
    assert watch.figures == {"overfit": 0.2, "score_gap": 2.0}


@pytest.mark.parametrize("put_aside_at", [50, 205, 240])
def test_a_resumed_watch_says_what_an_undisturbed_one_does(put_aside_at: int) -> None:
    def said(*, parts: bool) -> list[str]:
        watch, lines = Watch(STEPS), []
        for step in range(STEPS):
            if parts and step == put_aside_at:
                before, watch = watch, Watch(STEPS)
                watch.restore(before.state())
            sick = 200 <= step < 250
            try:
                lines += [watch.losses(step, {"critic": 30.0 if sick else 1.0}) or ""]
                lines += [watch.signs(step, BY_HEART if sick and step % 10 == 0 else LIVELY) or ""]
            except TrainingError as error:
                return [*lines, str(error)]
        return lines

    assert said(parts=True) == said(parts=False)
    assert any(said(parts=False))


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no state of a watch"):
        Watch(STEPS).restore({"losses": 3})
