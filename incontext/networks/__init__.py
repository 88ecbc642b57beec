"""Tensors → logits: the networks, their weights on disk, and what these are exported to. Knows no images of people."""
