"""Classifiers: train_run, predict, open_run, TrainSettings."""
