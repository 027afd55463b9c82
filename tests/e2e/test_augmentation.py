"""The shipped experiment on augmentation, through the command line, on made-up patients and with few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from medaug.cli.main import main
from medaug.core.case import AUGMENTATIONS
from medaug.core.results import ExperimentResult
from medaug.core.runs import NoProgress
from medaug.phantom.cohort import PhantomSpec, make_cohort
from medaug.transforms import read_drawn

CONFIG = Path(__file__).parents[2] / "configs" / "augmentation_quick.yaml"


@pytest.mark.slow
def test_every_arm_runs_resumes_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_cohort(
        tmp_path / "cohort",
        PhantomSpec(solid=7, ground_glass=6, both=2, lesion_free=1, lesions=1, shape=(64, 64, 8)),
        NoProgress(),
    )
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["task"] |= {"steps": 8, "base_channels": 4}
    config["record_augmentations"] = True
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(config))
    dataset, run = str(tmp_path / "dataset"), tmp_path / "run"
    experiment = ["experiment", dataset, "--config", str(tmp_path / "few.yaml"), "--out", str(run)]
    ingest = ["ingest", str(tmp_path / "cohort/dicom"), str(tmp_path / "cohort/nifti"), "--out", dataset]
    for command in (ingest, ["split", dataset, "--folds", "2"], experiment):
        assert main(command) == 0, capsys.readouterr().err
    result = ExperimentResult.read(run / "results.json")
    assert result.complete
    assert set(result.arms) >= {
        "classical",
        "randaugment",
        "trivialaugment",
        "adaptive",
        "cutmix",
        "carvemix",
    }
    shares = [cost.lesion_patch_share for cost in result.costs]
    assert max(shares) - min(shares) < 0.1
    for arm in result.arms:
        drawn = read_drawn(run / "cells" / f"{arm}_nall_fold0_seed0" / AUGMENTATIONS)
        assert len(drawn) == 8 * config["task"]["batch_size"]
    policy = json.loads((run / "cells/adaptive_nall_fold0_seed0/policy.json").read_text())
    assert policy["complete"]
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "further steps a training to choose its augmentation" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    assert main([*experiment, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"]
