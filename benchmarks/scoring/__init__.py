"""Episodes and predictors → rows of scores: evaluation in batches, metrics, workers and the result store."""
