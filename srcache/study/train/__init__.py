"""Classifiers trained on an arm, resumable at any moment, and what trained ones predict."""

from srcache.study.train.inference import predict as predict
from srcache.study.train.loop import train_run as train_run
from srcache.study.train.runs import EpochLine as EpochLine
from srcache.study.train.runs import TrainRun as TrainRun
from srcache.study.train.runs import open_run as open_run
from srcache.study.train.settings import TrainSettings as TrainSettings
from srcache.study.train.settings import read_settings as read_settings
