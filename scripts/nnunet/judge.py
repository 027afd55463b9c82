"""What scripts/nnunet_check.py runs in nnU-Net's environment: plan and preprocess, or train and validate one arm."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

Asked = dict[str, Any]


def plan(asked: Asked) -> None:
    """Integrity check, fingerprint, plan and preprocessing, as ``nnUNetv2_plan_and_preprocess`` does them."""
    number = convert_dataset_name_to_id(asked["dataset"])
    extract_fingerprint_dataset(number, num_processes=1, check_dataset_integrity=True, clean=False)
    plan_experiment_dataset(number, gpu_memory_target_in_gb=asked["memory_gb"])
    preprocess_dataset(number, configurations=(asked["configuration"],), num_processes=[1])


def train(asked: Asked) -> None:
    """nnU-Net's own trainer, shortened, and its validation."""
    started = time.monotonic()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(asked["seed"])
    folder = f"{nnUNet_preprocessed}/{asked['dataset']}"
    trainer = nnUNetTrainer(
        plans=_read(f"{folder}/nnUNetPlans.json") | {"continue_training": False},
        configuration=asked["configuration"],
        fold=asked["fold"],
        dataset_json=_read(f"{folder}/dataset.json"),
        device=torch.device(asked["device"]),
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = asked["epochs"], asked["iterations"]
    trainer.num_val_iterations_per_epoch = max(1, asked["iterations"] // 5)
    trainer.run_training()
    trainer.perform_actual_validation()
    print(f"{asked['arm']}: {time.monotonic() - started:.0f} s")


def _read(path: str) -> Asked:
    found: Asked = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":  # nnU-Net starts processes, which import this file
    ASKED = json.loads(sys.argv[1])
    plan(ASKED) if ASKED["arm"] == "plan" else train(ASKED)
