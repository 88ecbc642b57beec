"""Plans of benchmarks: named suites, the episodes of their tasks, and frozen lists of episodes."""
