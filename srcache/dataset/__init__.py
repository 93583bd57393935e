"""The training side: SRAugmentedDataset, SRAugment, Policy, Variant."""

from srcache.dataset.augmented import SRAugmentedDataset as SRAugmentedDataset
from srcache.dataset.policy import Policy as Policy
from srcache.dataset.policy import Variant as Variant
