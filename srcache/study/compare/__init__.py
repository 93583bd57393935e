"""Classifiers on the same images: read_predictions, join, compare, compare_seeds."""
