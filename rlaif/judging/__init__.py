"""The judging stage: judges made from the configuration, what is said beforehand, and the verdicts of a round."""
