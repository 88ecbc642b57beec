"""Segmentation of folders for the command line: masks, a resumable log, reports and previews."""

RUN_LOG = "progress.jsonl"
"""File name of the log of a run, which marks a folder as one of results."""
SUMMARY, MASKS = "summary.json", "masks"
"""File of a run that tells what it did, and the folder of its masks."""
