"""Measures gate beside what no implementation can beat, in one run on one machine."""
