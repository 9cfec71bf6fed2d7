"""Large guests: what a survey, a plan, its diffs and the config cost as one thing grows."""
