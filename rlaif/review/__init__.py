"""Looking back at judgements.

Two judges are compared, answers are scored again by another judge, narrow pairs are confirmed, and a person labels.
"""

from __future__ import annotations
