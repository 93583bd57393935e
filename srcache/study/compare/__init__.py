"""Classifiers on the same images: read predictions, join them by name, test every pair, sum up in one sentence.

predictions      the CSV of predictions; joining by name
spelling         one spelling for each class
metrics          how good each classifier is
pairwise, seeds  every pair tested; several seeds of each arm
verdict          the sentence
output           compare.json, discordant images, confusion matrices
"""

from .output import write_comparison as write_comparison
from .pairwise import CompareSettings as CompareSettings
from .pairwise import Comparison as Comparison
from .pairwise import compare as compare
from .predictions import JoinedPredictions as JoinedPredictions
from .predictions import PredictionRow as PredictionRow
from .predictions import Predictions as Predictions
from .predictions import join as join
from .predictions import read_predictions as read_predictions
from .predictions import write_predictions as write_predictions
from .seeds import SeedComparison as SeedComparison
from .seeds import compare_seeds as compare_seeds
from .seeds import join_seeds as join_seeds
