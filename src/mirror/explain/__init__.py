"""Explanations: which tiles and which genes a number of a patient comes from."""
