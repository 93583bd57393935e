"""Image quality by pyiqa (extra `iqa`, PolyForm Noncommercial 1.0.0): lazily, offline, weights only.

    table      which files each metric loads, and what brings them
    guard      no network, no unpickling, no code while a metric is made
    scorers    a metric as a function of our pictures, with its convention
"""

from srcache.iqa.scorers import LICENSE as LICENSE
from srcache.iqa.scorers import PREFIX as PREFIX
from srcache.iqa.scorers import Scorer as Scorer
from srcache.iqa.scorers import known as known
from srcache.iqa.scorers import open_scorer as open_scorer
from srcache.iqa.scorers import require_metric as require_metric
