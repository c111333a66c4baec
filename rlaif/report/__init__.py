"""`report.html` of a run: one self-contained page without scripts or outside requests. See `page.write_report`."""

from __future__ import annotations
