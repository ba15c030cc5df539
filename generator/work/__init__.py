"""All that a run does as work items, and their order."""
