"""Models: load a base, attach and save adapters, sample answers, score tokens, quantize."""
