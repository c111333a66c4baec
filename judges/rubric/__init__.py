"""Judges that say of each criterion of a rubric whether an answer meets it (prompts with `mode: rubric`)."""
