"""Edges count for themselves: what they send is small, and adds up to what the centre would count."""

import numpy as np
from lake_kit import ENGINES, log_of, query

from driftline import Detections, Profile, ProfileBuilder


def test_edge_files_merge(tmp_path):
    """Files of two devices, some tens of kilobytes each, merge to the profile of the common log."""
    arrays, table = log_of(11, 20_000)
    devices = [ProfileBuilder(), ProfileBuilder()]
    order = np.argsort(arrays["frame"], kind="stable")
    bounds = np.searchsorted(arrays["frame"][order], np.arange(len(arrays["at"]) + 1))
    for i, (at, camera) in enumerate(zip(arrays["at"], arrays["camera"], strict=True)):
        mine = order[bounds[i] : bounds[i + 1]]
        height, width = arrays["image_size"][i]
        frame = Detections(
            xyxy=arrays["xyxy"][mine],
            confidence=arrays["confidence"][mine],
            class_id=arrays["class_id"][mine],
            image_size=(int(height), int(width)),
        )
        devices[camera == "cam-1"].observe(frame, camera=camera, at=at)
    for number, device in enumerate(devices):
        device.drain().write(tmp_path / f"{number}.driftline")
    arrived = sorted(tmp_path.iterdir())

    assert max(path.stat().st_size for path in arrived) < 100_000
    with ENGINES["duckdb"](table, None) as execute:
        whole = query("duckdb").profile(execute)
    assert whole == Profile.merge(*map(Profile.read, arrived))
