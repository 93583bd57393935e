"""What a classifier learns from: arm_dataset, ArmDataset, ArmSets."""
