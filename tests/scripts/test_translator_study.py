from __future__ import annotations

import numpy as np
import pytest

from medaug.translators._super_resolution.slices import finer_grid
from scripts.translator_study import Scores, gain, linear, note, psnr, report, ssim, thickened
from tests.made_scans import scan


def test_figures_are_those_of_the_books() -> None:
    truth = np.zeros((12, 12, 12), np.float32)
    truth[6:] = 10.0
    assert psnr(truth + 1, truth) == pytest.approx(20.0)
    assert ssim(truth, truth).mean() == pytest.approx(1.0)
    assert ssim(truth[::-1], truth).mean() < 0.1


@pytest.mark.parametrize("axis", [0, 2])
def test_thick_cases_lie_where_super_resolution_looks_for_them(axis: int) -> None:
    case = scan(0)
    thick = thickened(case, axis, 2, "box")  # type: ignore[arg-type]
    assert thick.volume.image.max() <= case.volume.image.max()
    made, _ = finer_grid(thick.volume.grid, axis, 1.0)  # type: ignore[arg-type]
    assert made.agrees_with(case.volume.grid)


def test_contrast_may_be_turned_over_before_it_is_compared() -> None:
    image = np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)
    body = np.ones(image.shape, dtype=bool)
    np.testing.assert_allclose(linear(image, 5 - 3 * image, body), 5 - 3 * image, atol=1e-4)


def test_gains_are_paired_by_patient(capsys: pytest.CaptureFixture[str]) -> None:
    scores: Scores = {}
    for value in (20.0, 30.0, 40.0, 25.0):
        note(scores, "old PSNR", value)
        note(scores, "new PSNR", value + 1)
    assert gain(scores, "new", "old", "PSNR") == "+1.000 (+1.000 to +1.000)"
    report(scores, ("old", "new"), ("PSNR",))
    printed = capsys.readouterr().out
    assert "| new | 29.750 |" in printed
    assert "| difference, 4 patients | PSNR |" in printed
