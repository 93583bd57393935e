"""A whole study by one configuration: arms × seeds, from pictures to a report, in one folder.

config    what is to be done, as frozen values; every mistake is told at once
reading   YAML, shipped experiments, changes such as train.epochs=2
steps     what each step was made from, so that it is redone exactly when that changes
data      pictures in train, validation and test, and their LR copies
trials    one arm with one seed: train, then ask about every domain
trainers  trials one after the other, or several at a time in processes
measures  image quality, label safety, comparison, grid
results   results.json, which the report reads
run       all of it in order
"""

from srcache.study.experiment.config import Experiment as Experiment
from srcache.study.experiment.load import load_experiment as load_experiment
from srcache.study.experiment.load import shipped_experiments as shipped_experiments
from srcache.study.experiment.run import ExperimentResult as ExperimentResult
from srcache.study.experiment.run import run_experiment as run_experiment
