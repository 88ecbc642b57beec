"""Statistics of result rows: intervals, tests, subgroups and summaries."""
