"""Training: SFT, DPO and the published methods, as stages of a run or as the command `train`."""
