"""Profiling and comparing confidences, beside what one would install instead.

    python benchmarks/drift_peers.py
"""
