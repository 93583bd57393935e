"""Speed and memory bars, measured against named peers; `python -m benchmarks` runs them all."""
