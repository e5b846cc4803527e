"""What a detection log is called by the people who keep one."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class LogColumns:
    """Where a table holds what a detection log needs; each is a column, or an expression in SQL.

    A row is a box. A frame without boxes is a row without confidence (NULL), so that it counts.
    The expressions go into the query as they are: they are yours, in your engine's dialect.

    Attributes:
        timestamp: when the frame was taken; a time without zone is UTC.
        camera: name of the camera, text.
        frame_id: tells frames of one camera and time apart; ``"0"`` where there are none such.
        class_id: index of the class.
        confidence: [0, 1]; NULL: the frame has no boxes.
        x1: left of the box, px.
        y1: top of the box, px.
        x2: right of the box, px.
        y2: bottom of the box, px.
        width: width of the frame, px.
        height: height of the frame, px.
        context: settings in JSON, as `DetectionLogger` writes them; None: the table has none.
        normalized: boxes are shares of the frame's width and height, not px.
    """

    timestamp: str = "timestamp"
    camera: str = "camera"
    frame_id: str = "frame_id"
    class_id: str = "class_id"
    confidence: str = "confidence"
    x1: str = "x1"
    y1: str = "y1"
    x2: str = "x2"
    y2: str = "y2"
    width: str = "width"
    height: str = "height"
    context: str | None = None
    normalized: bool = False
