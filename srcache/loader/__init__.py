"""SRLoader: batches of an SRAugmentedDataset at the speed of the machine."""

from srcache.loader.loader import SRLoader as SRLoader
