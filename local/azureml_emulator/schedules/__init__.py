"""Schedules: triggers that say when, and a clock that fires jobs then, once each."""
