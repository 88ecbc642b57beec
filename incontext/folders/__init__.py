"""Segmentation of folders for the command line: masks, a resumable log, reports and previews."""
