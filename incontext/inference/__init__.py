"""Labelled examples and planes → masks: the support pool, its reading, uncertainty, propagation and saved tasks."""
