"""Image quality of a folder or a cache against references: pairs by name, metrics, summary, contact sheet.

pairs        which picture belongs to which reference
presets      metrics with a convention, by name
measuring    every number, in one stated convention
report       summary with bootstrap intervals; CSV, JSON, worst and best pictures
"""

from srcache.study.quality.measure import BASIC as BASIC
from srcache.study.quality.measure import QualitySettings as QualitySettings
from srcache.study.quality.measure import measure_folders as measure_folders
from srcache.study.quality.pairs import Pick as Pick
from srcache.study.quality.presets import PRESETS as PRESETS
from srcache.study.quality.presets import Preset as Preset
from srcache.study.quality.pyiqa_metrics import LICENSE as LICENSE
from srcache.study.quality.pyiqa_metrics import PREFIX as PREFIX
from srcache.study.quality.pyiqa_metrics import Scorer as Scorer
from srcache.study.quality.pyiqa_metrics import known_metrics as known_metrics
from srcache.study.quality.pyiqa_metrics import open_scorer as open_scorer
from srcache.study.quality.pyiqa_metrics import require_metric as require_metric
from srcache.study.quality.report import QualityFailure as QualityFailure
from srcache.study.quality.report import QualityReport as QualityReport
from srcache.study.quality.report import Skipped as Skipped
from srcache.study.quality.report import Summary as Summary
from srcache.study.quality.report import require_free as require_free
