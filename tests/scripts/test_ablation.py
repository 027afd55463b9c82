"""The table of an ablation, and that every variant is a configuration that works."""

from __future__ import annotations

import pytest

from medaug.generators.cgan import Config
from scripts import ablation

RECIPE: ablation.Json = {"kind": "cgan", "steps": 5, "weights": {"rim": 1.0}}


@pytest.mark.parametrize("name", ablation.VARIANTS)
def test_every_variant_differs_from_the_recipe_in_one_part(name: str) -> None:
    recipe = Config.model_validate(RECIPE).model_dump()
    variant = Config.model_validate(ablation.changed(RECIPE, ablation.VARIANTS[name])).model_dump()
    weights = recipe.pop("weights"), variant.pop("weights")
    parts = [key for key in recipe if recipe[key] != variant[key]]
    parts += [key for key in weights[0] if weights[0][key] != weights[1][key]]
    assert len(parts) == (name != "recipe")


def test_rows_stand_in_order_with_the_coarse_inputs_behind_their_variants() -> None:
    rows = ablation.rows_of(("recipe", "minimax", "texture"))
    assert rows == (
        "recipe",
        "recipe, coarse input only",
        "minimax",
        "texture",
        "texture, coarse input only",
    )


def test_the_table_tells_every_figure() -> None:
    row: ablation.Json = {
        "name": "minimax", "distance": [1.234, 1.0, 1.5], "ssim": 0.55, "in_order": False, "recovery": 0.5,
        "cpu_seconds": 61,
    }  # fmt: skip
    last = ablation.table([row]).splitlines()[-1]
    assert last == "| minimax | 1.23 (1.00 to 1.50) | 0.55 | other | 0.50 | 61 |"
