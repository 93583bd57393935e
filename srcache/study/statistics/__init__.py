"""What the counts of right and wrong answers are worth: tests, intervals, corrections, power.

Pure functions of counts. A value that is not defined is None beside a `reason`, never NaN and never infinite. Where
statsmodels or scipy has a method, it is theirs, with its traps caught here; what they lack (mid-p, Newcombe's paired
interval, the joint bootstrap) is written here, and so is Wilson's interval, which a report shows without them.
"""

from .bootstrap import bootstrap_difference as bootstrap_difference
from .bootstrap import joint_bootstrap as joint_bootstrap
from .corrections import CORRECTIONS as CORRECTIONS
from .corrections import adjusted as adjusted
from .intervals import Interval as Interval
from .intervals import Test as Test
from .intervals import require_share as require_share
from .intervals import wilson as wilson
from .intervals import wilson_limits as wilson_limits
from .paired import McNemar as McNemar
from .paired import Table as Table
from .paired import cochran as cochran
from .paired import mcnemar as mcnemar
from .paired import newcombe_difference as newcombe_difference
from .paired import newcombe_limits as newcombe_limits
from .paired import odds_ratio as odds_ratio
from .paired import table_of as table_of
from .power import Needed as Needed
from .power import discordants_needed as discordants_needed
from .power import needed as needed
