"""What a set of runs shows: summaries, tests and intervals as pure functions of scores. Needs numpy and scipy only."""
