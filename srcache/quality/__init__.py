"""Image quality of a folder or a cache against references: pairs by name, metrics, summary, contact sheet.

    pairs        which picture belongs to which reference
    presets      metrics with a convention, by name
    measuring    every number, in one stated convention
    report       summary with bootstrap intervals; CSV, JSON, worst and best pictures
"""

from srcache.quality.measuring import BASIC as BASIC
from srcache.quality.measuring import QualitySettings as QualitySettings
from srcache.quality.measuring import measure_folders as measure_folders
from srcache.quality.pairs import Pick as Pick
from srcache.quality.presets import PRESETS as PRESETS
from srcache.quality.presets import Preset as Preset
from srcache.quality.report import QualityFailure as QualityFailure
from srcache.quality.report import QualityReport as QualityReport
from srcache.quality.report import Skipped as Skipped
from srcache.quality.report import Summary as Summary
from srcache.quality.report import require_free as require_free
