"""A collection → weights: episodes, batches, the loop, and the files and log of a run."""
