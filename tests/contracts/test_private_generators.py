"""cgan and vae with differential privacy: nothing but the clipped, noisy gradient has seen a patient."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medaug.core.budget import PrivacyRequest
from medaug.core.errors import ConfigError
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.engine.checkpoint import load_checkpoint
from medaug.engine.dp import PrivacyPlan, PrivateGradients
from medaug.generators import cgan, vae
from medaug.generators._cgan.dp_model import PrivateCganModel
from medaug.generators._patches.dp_learner import PrivateLearner
from medaug.generators._patches.records import gather_records
from medaug.generators._vae.dp_model import PrivateVaeModel
from medaug.generators.base import (
    CARD,
    WEIGHTS,
    generator_sha256,
    load_generator,
    read_card,
    train_generator,
    with_privacy,
)
from medaug.lesions.bank import Bank
from tests import made_lesions
from tests.trained import NoSettings, Said

QUIET = {"epsilon": None, "randomness": "seeded"}
KINDS = ("cgan", "vae")


def tiny(kind: str, **changes: object) -> cgan.Config | vae.Config:
    plain = {"size": (16, 16), "base": 4, "batch_size": 3, "steps": 4, "device": "cpu", "dp": QUIET}
    model = cgan.Config if kind == "cgan" else vae.Config
    return model.model_validate({**plain, **changes})


def learner(
    kind: str, bank: Bank, *, rate: float = 1.0, noise: float = 0.0, clip: float = 0.05
) -> PrivateLearner:
    config = tiny(kind, dp={**QUIET, "clip": clip})
    records = gather_records(bank, config, NoProgress())
    assert config.dp is not None
    plan = PrivacyPlan(config.dp, len(records.owned), rate, 100, noise)
    if isinstance(config, cgan.Config):
        return PrivateLearner(PrivateCganModel(config, bank.index, SeedTree(0)), records, plan, SeedTree(0))
    return PrivateLearner(PrivateVaeModel(config, bank.index, SeedTree(0)), records, plan, SeedTree(0))


def trained_part(made: PrivateLearner) -> nn.Module:
    return made._model.private


def gradient(made: PrivateLearner) -> torch.Tensor:
    parts = [p.grad for p in trained_part(made).parameters()]
    return torch.cat([torch.zeros(1) if g is None else g.flatten() for g in parts])


def losses(made: PrivateLearner, patients: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return made._losses(made._records.draw(np.array(patients), made._each, SeedTree(7)), 0)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_each_patient_alone_clipped(kind):
    bank = made_lesions.bank(4, 4)
    together = learner(kind, bank)
    patients = list(range(4))
    assert together._private.draw().tolist() == patients
    together._private.fill(*losses(together, patients))
    total, norms = torch.zeros_like(gradient(together)), []
    for patient in patients:
        alone = learner(kind, bank)
        loss, _ = losses(alone, [patient])
        loss.sum().backward()
        own = gradient(alone)
        norms.append(float(own.norm()))
        total += own * min(1.0, 0.05 / norms[-1])
    assert max(norms) > 0.05
    torch.testing.assert_close(gradient(together) * 4, total, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_patient_more_changes_the_sum_by_no_more_than_the_clip_norm(kind):
    bank = made_lesions.bank(4, 4)
    sums = []
    for patients in ([0, 1, 3], [0, 1, 2, 3]):
        made = learner(kind, bank)
        made._private.draw()
        loss, owners = losses(made, patients)
        made._private.fill(loss, owners)
        sums.append(gradient(made) * 4)
    assert 1e-4 < float((sums[0] - sums[1]).norm()) <= 0.05 * 1.001


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_private_gradient_nothing_depends_on_the_patients(kind, tmp_path, monkeypatch):
    """Two banks of other lesions, outlines and hosts give the same generator once the gradient is noise alone."""
    plain = PrivateGradients.fill

    def noise_alone(self, loss, owners):
        plain(self, loss, owners)
        for weight in self._module.parameters():
            weight.grad = torch.full_like(weight, 0.01)

    states = []
    for name, fill in (("hidden", noise_alone), ("seen", plain)):
        monkeypatch.setattr(PrivateGradients, "fill", fill)
        found = []
        for order in ((4, 4), (5, 3)):
            run = tmp_path / f"{name}{order[0]}"
            with open_run(run, "fit", NoSettings(), {}) as folder:
                config = tiny(kind)
                train_generator(config, made_lesions.bank(*order), folder, NoProgress(), SeedTree(0))
            found.append(flattened(load_checkpoint(run / WEIGHTS)))
        states.append(found)
    (hidden, also_hidden), (seen, also_seen) = states
    torch.testing.assert_close(hidden, also_hidden, rtol=0, atol=0)
    assert not torch.equal(seen, also_seen)


def flattened(state: object) -> torch.Tensor:
    if isinstance(state, dict):
        state = [state[key] for key in sorted(state)]
    if isinstance(state, list):
        return torch.cat([flattened(part) for part in state] or [torch.zeros(0)])
    return state.flatten().float() if isinstance(state, torch.Tensor) else torch.zeros(0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_drew_nobody_is_noise_and_counts(kind):
    made = learner(kind, made_lesions.bank(4, 4), rate=1e-9, noise=1e-9)
    before = [p.detach().clone() for p in trained_part(made).parameters()]
    made.train_step(0)
    moved = [not torch.equal(a, b) for a, b in zip(before, trained_part(made).parameters(), strict=True)]
    assert all(moved)
    private = made.state()["private"]
    assert isinstance(private, dict)
    assert private["steps"] == 1


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp(request.param) / "run"
    said = Said()
    with open_run(path, "fit", NoSettings(), {}) as folder:
        config = tiny(request.param, dp={"epsilon": 8})
        train_generator(config, made_lesions.bank(), folder, said, SeedTree(0))
    assert any("epsilon 8" in line for line in said.lines)
    return path


def test_card_and_checkpoint_tell_what_was_spent(run):
    budget = read_card(run).privacy
    assert budget is not None
    assert budget.is_claimed
    assert 7.5 < budget.epsilon <= 8
    assert (budget.steps, budget.patients, budget.sampling_rate) == (4, 8, 3 / 8)
    assert load_checkpoint(run / WEIGHTS)["privacy"] == budget.model_dump()


def test_the_log_tells_nothing_that_has_not_been_through_the_noise(run):
    log = (run / "log.jsonl").read_text()
    assert ("noisy_gradient" in log) != ("adversarial" in log)
    assert not {"critic", "l1", "kl", "score_gap", "overfit"} & set(log.replace('"', " ").split())


def test_lesions_are_drawn_inside_their_outlines(run):
    generator = load_generator(str(run), device="cpu")
    asked = [made_lesions.request("faint", seed=1), made_lesions.request("bright", seed=2)]
    rngs = [np.random.default_rng(n) for n in range(2)]
    for request, lesion in zip(asked, generator.generate(asked, rngs), strict=True):
        assert lesion.image.shape == request.host.shape
        assert np.isfinite(lesion.image).all()
        changed = (lesion.image != request.host)[0]
        assert changed[request.mask].mean() > 0.99
        rows = np.argwhere(request.mask)
        low, high = rows.min(axis=0) - 5, rows.max(axis=0) + 6
        changed[tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))] = False
        assert not changed.any()
    alone = generator.generate(asked[:1], [np.random.default_rng(0)])[0].image
    again = load_generator(str(run), device="cpu").generate(
        asked, [np.random.default_rng(n) for n in range(2)]
    )
    np.testing.assert_allclose(alone, again[0].image, atol=0.5)
    assert generator.generate([], []) == []


def test_a_stopped_training_goes_on_counting(tmp_path):
    def train(path, said):
        with open_run(path, "fit", NoSettings(), {}) as folder:
            config = tiny("cgan", dp={"epsilon": 8, "randomness": "seeded"})
            train_generator(config, made_lesions.bank(), folder, said, SeedTree(0))

    train(tmp_path / "whole", NoProgress())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medaug.engine.loop.SAVE_EVERY_S", 0)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", Said(stop_after=2))
    train(tmp_path / "parts", NoProgress())
    cards = [read_card(tmp_path / name) for name in ("whole", "parts")]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert cards[0].privacy == cards[1].privacy
    assert cards[0].privacy is not None
    assert not cards[0].privacy.is_claimed


def test_the_cgan_hides_levels_where_they_mean_nothing(tmp_path):
    """Units differ from scan to scan: what is learnt and drawn is the difference to the tissue around."""
    with open_run(tmp_path / "run", "fit", NoSettings(), {}) as folder:
        train_generator(
            tiny("cgan"), made_lesions.bank(unit=Unit.ARBITRARY), folder, NoProgress(), SeedTree(0)
        )
    generator = load_generator(str(tmp_path / "run"), device="cpu")
    request = made_lesions.request()
    brighter = made_lesions.request()
    object.__setattr__(brighter, "host", brighter.host + 100)
    inside = [
        generator.generate([one], [np.random.default_rng(0)])[0].image[0, request.mask].mean()
        for one in (request, brighter)
    ]
    assert abs(inside[1] - inside[0] - 100) < 5


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("cgan", {"backbone": "spade"}, "backbone"),
        ("cgan", {"teacher": "runs/teacher"}, "teacher"),
        ("cgan", {"coarse": "texture"}, "coarse"),
        ("cgan", {"bottleneck": "transformer"}, "bottleneck"),
        ("cgan", {"compile": True}, "compile"),
        ("cgan", {"weights": {"blurred_l1": 4}}, r"weights\.blurred_l1"),
        ("cgan", {"weights": {"histogram": 1}}, r"weights\.histogram"),
        ("cgan", {"weights": {"features": 1}}, r"weights\.features"),
        ("vae", {"free_bits": 0.05}, "free_bits"),
    ],
)
def test_what_would_break_the_promise_is_refused_with_its_reason(kind, changes, said):
    with pytest.raises(ValidationError, match=f"dp: {said}"):
        tiny(kind, **changes)


def test_the_variant_is_chosen_where_nothing_was_set():
    private = cgan.Config(dp=PrivacyRequest(epsilon=8))
    assert (private.backbone, private.objective) == ("dcgan", "non_saturating")
    assert private.weights.model_dump(exclude={"diversity"}) == dict.fromkeys(
        ("blurred_l1", "features", "histogram", "grain", "rim", "teacher", "lecam"), 0.0
    )
    assert private.weights.diversity == 1
    assert cgan.Config.model_validate(private.model_dump(mode="json")) == private
    assert vae.Config(dp=PrivacyRequest(epsilon=8)).free_bits == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_promise_configurations_and_their_hashes_are_as_before(kind):
    plain = cgan.Config() if kind == "cgan" else vae.Config()
    assert "dp" not in plain.model_dump(mode="json")
    assert "dp" not in plain.model_dump_json()
    assert generator_sha256(plain) != generator_sha256(with_privacy(plain, {"epsilon": 8}))


def test_a_promise_is_added_to_a_configuration_and_keeps_what_was_set():
    config = cgan.Config(steps=77, dp=PrivacyRequest(epsilon=3, clip=0.5))
    asked = with_privacy(config, {"epsilon": "8", "delta": "1e-6"})
    assert isinstance(asked, cgan.Config)
    assert asked.steps == 77
    assert asked.dp == PrivacyRequest(epsilon=8, delta=1e-6, clip=0.5)
    with pytest.raises(ConfigError, match=r"unknown key dp\.epsilom"):
        with_privacy(config, {"epsilom": 8})
    with pytest.raises(ConfigError, match="backbone"):
        with_privacy(cgan.Config(backbone="spade"), {"epsilon": 8})


def test_kinds_that_keep_no_promise_are_told():
    from medaug.generators.procedural import Config

    with pytest.raises(ConfigError, match="procedural has no training with differential privacy"):
        with_privacy(Config(), {"epsilon": 8})


def test_cards_without_a_promise_keep_their_seals(tmp_path):
    with open_run(tmp_path / "run", "fit", NoSettings(), {}) as folder:
        train_generator(tiny("cgan"), made_lesions.bank(4, 4), folder, NoProgress(), SeedTree(0))
    assert '"privacy"' not in (tmp_path / "run" / CARD).read_text()
