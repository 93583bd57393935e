"""Label safety: measure_safety, open_classifier."""
