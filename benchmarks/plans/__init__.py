"""What is scored: named suites, the episodes of their tasks, and frozen lists of these."""
