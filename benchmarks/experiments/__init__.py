"""Experiments on how well a network generalises: each one command, a table and a figure; see `catalogue`."""
