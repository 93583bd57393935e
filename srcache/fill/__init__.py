"""Fill a cache (`srcache build`): fill, FillSettings, FillReport, estimate, upscale."""

from srcache.fill.run import fill as fill
from srcache.fill.settings import FillInterrupted as FillInterrupted
from srcache.fill.settings import FillReport as FillReport
from srcache.fill.settings import FillSettings as FillSettings
