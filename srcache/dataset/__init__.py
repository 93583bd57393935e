"""The training side: a data set that serves HR, LR or cached SR images, and the policy that chooses among them."""

from srcache.dataset.augmented import SRAugmentedDataset as SRAugmentedDataset
from srcache.dataset.policy import Policy as Policy
from srcache.dataset.policy import Variant as Variant
