"""Scores any predictor on many in-context tasks, with intervals that respect tasks and subjects."""
