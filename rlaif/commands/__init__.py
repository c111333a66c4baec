"""The commands by what they are for: each checks its options, calls the package and prints. cli.py puts them
together.
"""

from __future__ import annotations
