"""A report says what a set of runs shows: summaries, tests and intervals are pure functions of scores."""
