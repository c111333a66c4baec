"""What leaves a run or enters it: models, preference pairs, their cards, and the HTTP server."""
