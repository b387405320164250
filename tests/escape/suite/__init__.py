"""The escape suite's machinery: a world worth stealing from, workers, controls, verdicts."""
