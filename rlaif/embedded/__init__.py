"""The offline default: facts in our own words, questions made from them, and a tiny base model trained on them."""
