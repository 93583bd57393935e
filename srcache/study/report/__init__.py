"""The report of an experiment: one HTML file that holds everything and asks for nothing.

    question, verdict     what was asked, and what may be said
    accuracy, pairs       tables with intervals; McNemar's counts and the images behind them
    images                LR | SR | HR under borders that can be dragged
    grid, confusion       heat maps as tables
    training, quality     curves, and how near SR comes to HR
    label safety          what a filter would remove
    data … commands       where everything comes from, and how to make it again

`results.json` is read as it is; what is missing in it is said in the section where it would stand.
"""

from .write import REPORT as REPORT
from .write import ReportSummary as ReportSummary
from .write import summarise as summarise
from .write import write_report as write_report
