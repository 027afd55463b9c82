"""The tables of docs/results say what results.json says."""

from medaug.core.results import ArmScore, Comparison, ExperimentResult
from scripts.results_table import tables


def test_every_arm_and_difference_is_a_row() -> None:
    score = ArmScore(
        arm="classical",
        n_annotated=8,
        class_name="solid",
        mean_dice=0.5,
        ci_low=0.4,
        ci_high=0.6,
        n_patients=9,
        false_positive_voxels=0,
        n_empty=0,
    )
    comparison = Comparison(
        arm="cgan",
        baseline="classical",
        n_annotated=8,
        class_name="solid",
        mean_difference=-0.0625,
        ci_low=-0.1,
        ci_high=-0.01,
        p=0.01,
        p_holm=0.02,
        n_patients=9,
        mde=None,
        verdict="harm",
    )
    shown = tables(
        ExperimentResult(
            dataset="set",
            dataset_sha256="x",
            classes=("solid",),
            baseline="classical",
            arms=("classical", "cgan"),
            complete=True,
            rows=(),
            comparisons=(comparison,),
            costs=(),
            scores=(score,),
        )
    )
    assert "| classical | 0.500 (0.40 to 0.60), n 9 |" in shown
    assert "| cgan | - |" in shown
    assert "| cgan | solid | -0.062 | -0.100 to -0.010 | 0.020 | - | harm |" in shown
