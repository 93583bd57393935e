"""Label safety: how far super-resolution may have changed what images show, by numbers for each SR image."""

from srcache.study.safety.classifier import RunClassifier as RunClassifier
from srcache.study.safety.classifier import open_classifier as open_classifier
from srcache.study.safety.measure import SafetyReport as SafetyReport
from srcache.study.safety.measure import measure_safety as measure_safety
from srcache.study.safety.measure import source_images as source_images
from srcache.study.safety.metrics import Classifier as Classifier
