"""What a classifier learns from: images of LR, HR, SR, bicubic or a mixture, in training, validation and test."""

from srcache.study.arms.arms import ArmDataset as ArmDataset
from srcache.study.arms.arms import arm_dataset as arm_dataset
from srcache.study.arms.arms import arm_from_folder as arm_from_folder
from srcache.study.arms.arms import split_share as split_share
from srcache.study.arms.sets import ArmSets as ArmSets
from srcache.study.arms.usable import require_usable as require_usable
