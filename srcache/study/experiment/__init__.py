"""A complete study by one configuration: arms × seeds, from images to a report, in one folder.

config    what is to be done, as frozen values
load      experiments by name or from a file, and changes such as train.epochs=2
sweeps    curves over a quantity, as arms that are trained like any other
parse     YAML values → an experiment; every mistake is reported at once
steps     what each step was made from, so that it is redone exactly when that changes
data      images in train, validation and test, and their LR copies
trials    one arm with one seed: train, then predict every domain
workers   trials one after the other, or several at a time in processes
measure   image quality, label safety, comparison, grid
curves    what sweeps show: bands, and where curves part
results   results.json, which the report reads
run       all of it in order
"""

from srcache.study.experiment.config import Experiment as Experiment
from srcache.study.experiment.load import load_experiment as load_experiment
from srcache.study.experiment.load import shipped_experiments as shipped_experiments
from srcache.study.experiment.parse import read_experiment as read_experiment
from srcache.study.experiment.run import ExperimentResult as ExperimentResult
from srcache.study.experiment.run import run_experiment as run_experiment
