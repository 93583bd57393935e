"""Fill a cache with the SR images that it lacks: what `srcache build` does."""

from srcache.fill.devices import fill_on_devices as fill_on_devices
from srcache.fill.run import fill as fill
from srcache.fill.settings import FillInterrupted as FillInterrupted
from srcache.fill.settings import FillReport as FillReport
from srcache.fill.settings import FillSettings as FillSettings
from srcache.fill.settings import RaySettings as RaySettings
