"""What a detection log is called by the people who keep one."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import optional

from driftline._checks import a, some_text


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

    timestamp: str = field(default="timestamp", validator=some_text)
    camera: str = field(default="camera", validator=some_text)
    frame_id: str = field(default="frame_id", validator=some_text)
    class_id: str = field(default="class_id", validator=some_text)
    confidence: str = field(default="confidence", validator=some_text)
    x1: str = field(default="x1", validator=some_text)
    y1: str = field(default="y1", validator=some_text)
    x2: str = field(default="x2", validator=some_text)
    y2: str = field(default="y2", validator=some_text)
    width: str = field(default="width", validator=some_text)
    height: str = field(default="height", validator=some_text)
    context: str | None = field(default=None, validator=optional(some_text))
    normalized: bool = field(default=False, validator=a(bool, "True or False"))
