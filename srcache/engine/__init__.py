"""Engines: the interface that an SR network is plugged in by, and the installed ones by name.

A plug-in imports nothing else of srcache but `images`, `weights` and `errors`.
"""

from srcache.engine.interface import EngineInfo as EngineInfo
from srcache.engine.interface import Failure as Failure
from srcache.engine.interface import Option as Option
from srcache.engine.interface import OptionValue as OptionValue
from srcache.engine.interface import Setup as Setup
from srcache.engine.interface import SREngine as SREngine
from srcache.engine.interface import Tiling as Tiling
from srcache.engine.interface import Unfinished as Unfinished
from srcache.engine.interface import Upscaled as Upscaled
from srcache.engine.interface import upscaled_side as upscaled_side
from srcache.engine.registry import engine_names as engine_names
from srcache.engine.registry import find_engine as find_engine
from srcache.engine.registry import open_engine as open_engine
from srcache.engine.running import allow_many_shapes as allow_many_shapes
from srcache.engine.running import on_device as on_device
