"""Image quality of a folder or a cache against references: pairs by name, metrics, summary, contact sheet.

pairs          which image belongs to which reference
mod_crop       which part of the references the images show, told by their sizes
presets        metrics with a convention, by name
psnr_ssim      PSNR and SSIM, and the convention that every number carries
pyiqa_metrics  pyiqa's metrics, with their weights (pyiqa_weights), made under a guard (pyiqa_guard)
measure        every number, in one stated convention
report         summary with bootstrap intervals; CSV, JSON, worst and best images (contact_sheet)
"""

from .measure import QualitySettings as QualitySettings
from .measure import measure_folders as measure_folders
from .pairs import Pick as Pick
from .presets import PRESETS as PRESETS
from .presets import Preset as Preset
from .psnr_ssim import Convention as Convention
from .psnr_ssim import measure_image as measure_image
from .pyiqa_metrics import BASIC as BASIC
from .pyiqa_metrics import LICENSE as LICENSE
from .pyiqa_metrics import PREFIX as PREFIX
from .pyiqa_metrics import Scorer as Scorer
from .pyiqa_metrics import known_metrics as known_metrics
from .pyiqa_metrics import open_scorer as open_scorer
from .pyiqa_metrics import require_metric as require_metric
from .report import QualityFailure as QualityFailure
from .report import QualityReport as QualityReport
from .report import Skipped as Skipped
from .report import Summary as Summary
from .report import mean_text as mean_text
from .report import require_free as require_free
