"""The promotion gate: the decision, its conditions, its explanation and its simulation."""
