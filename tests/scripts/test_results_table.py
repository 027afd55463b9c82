"""The tables of docs/results say what results.json says."""

from medaug.core.results import ArmScore, Comparison, ExperimentResult
from scripts.results_table import tables
from tests.unit.report.big import big_result


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
    assert "| cgan | solid | -0.062 | -0.100 to -0.010 | 9 | 0.020 | - | - | harm |" in shown
    for absent in ("###", "HD95", "annotated patients"):
        assert absent not in shown, absent


def test_sizes_named_comparisons_further_figures_curves_and_savings_are_printed() -> None:
    shown = tables(big_result())
    for said in (
        "### 4 annotated patients",
        "### all annotated patients",
        "| arm | class | surface Dice | HD95 mm | volume error |",
        "| arm against classical_copy_paste | class |",
        "| arm | class | 4 annotated patients | 8 annotated patients | all annotated patients |",
        "- With 8 annotated patients classical_cgan reaches in solid",
    ):
        assert said in shown, said
    assert "93%" in shown
