"""Whether rows are still like those that a model was trained on.

``compare`` is pure: two frames in, a report out. ``windows`` does the same for one stretch of
time after another.
"""

from __future__ import annotations

from twinml.drift._compare import DriftReport, FeatureDrift, compare
from twinml.drift._windows import Window, windows, windows_text

__all__ = ["DriftReport", "FeatureDrift", "Window", "compare", "windows", "windows_text"]
