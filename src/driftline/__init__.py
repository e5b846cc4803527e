"""Driftline watches YOLO detectors in production and drives their retraining.

Importing it does nothing and loads nothing heavy: each public name is loaded on first use.
"""
