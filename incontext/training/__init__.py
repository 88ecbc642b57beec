"""A collection → weights: episodes, batches, the loop, and what a run keeps and tells."""
