"""Rows → what they say: intervals, tests, subgroups and summaries."""
