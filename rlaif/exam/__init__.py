"""The exam a judge must pass before it may label (docs/judges.md).

`rules` says what is asked and when it counts as passed; `corrupt` spoils answers; `embedded`, `medquad` and `human`
build the items; `grade` marks the verdicts; `hold` runs an exam; `command` is the command line's part, `licence` the
loop's.
"""

from __future__ import annotations
