"""Training machinery: one readable loop, checkpoints, devices, and the bridge to MONAI."""
