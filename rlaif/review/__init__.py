"""Looking back at judgements: two judges compared, answers scored again by another judge, narrow pairs confirmed, a
person's labels.
"""

from __future__ import annotations
