"""What an endpoint found in an image."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from driftline.errors import InputError
from driftline.records import Context, Detections


@frozen(kw_only=True)
class ClassScore:
    """One class of a whole image, from a classifier or a semantic segmentation.

    Attributes:
        class_id: index of the class.
        name: its name.
        confidence: how sure the classifier is, 0 to 1; None where not said.
        pixel_ratio: share of the image that the class covers, 0 to 1; None where not said.
    """

    class_id: int
    name: str
    confidence: float | None = None
    pixel_ratio: float | None = None


@frozen(kw_only=True, eq=False)
class Frame:
    """What was found in one image, or one frame of a video.

    Attributes:
        detections: the boxes, in pixels of the image; an oriented box or a mask counts with
            the upright box around it.
        scores: classes of the whole image, for tasks without boxes.
        speed_ms: ``preprocess``, ``inference`` and ``postprocess``, ms.
    """

    detections: Detections
    scores: tuple[ClassScore, ...] = ()
    speed_ms: Mapping[str, float] = field(factory=dict)


@frozen(kw_only=True, eq=False)
class Prediction:
    """The answer to one call of `PlatformClient.predict`.

    Attributes:
        frames: one for an image, several for a video.
        context: the settings it was made under; keep it beside every detection. Its model is
            the ``"owner/project/model"`` that was deployed, as in `Endpoint.context`; the path
            that the reply names where the key may not look, None where it names none.
        task: what the model does, None where not said.
        call_seconds: time of the call inside the endpoint, s.
    """

    frames: tuple[Frame, ...]
    context: Context
    task: str | None = None
    call_seconds: float | None = None

    @property
    def detections(self) -> Detections:
        """The boxes of the only image.

        Raises:
            InputError: it was a video: read `frames`.
        """
        return self._only.detections

    @property
    def scores(self) -> tuple[ClassScore, ...]:
        """The classes of the only image, for tasks without boxes; errors as in `detections`."""
        return self._only.scores

    @property
    def speed_ms(self) -> Mapping[str, float]:
        """The timing of the only image, ms; errors as in `detections`."""
        return self._only.speed_ms

    @property
    def _only(self) -> Frame:
        if len(self.frames) != 1:
            msg = f"the prediction covers {len(self.frames)} frames; read .frames one by one"
            raise InputError(msg)
        return self.frames[0]

    def __repr__(self) -> str:
        """Say how much was found."""
        found = sum(len(frame.detections) for frame in self.frames)
        return f"Prediction({len(self.frames)} frames, {found} detections, {self.context.model!r})"
