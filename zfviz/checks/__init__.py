"""Audits: checks of a model, with numbers, thresholds and pictures, in the formats that CI reads."""
