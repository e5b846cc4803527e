"""An endpoint as a detector: what evaluates local weights evaluates it as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve

from driftline.platform._calls import PredictOptions
from driftline.platform._deployment import Deployment
from driftline.platform._images import Image
from driftline.platform._prediction import Prediction
from driftline.records import Context, Detections

LOWEST_CONF: Final = 0.01
"""The lowest confidence threshold the Platform takes (contract 0.1.9)."""


class _Endpoint:
    def __init__(self, deployment: Deployment, options: PredictOptions) -> None:
        self.deployment = deployment
        self._context = Context(
            model=deployment.model_address,
            conf=options.conf,
            iou=options.iou,
            imgsz=options.imgsz,
        )

    @property
    def context(self) -> Context:
        """The settings its detections are made under.

        The version of Ultralytics and the names of the classes are learned from the replies, and
        so is the model, once it was replaced.
        """
        return self._context

    def _learn(self, prediction: Prediction) -> Detections:
        told = prediction.context
        self._context = evolve(
            self._context,
            model=told.model or self._context.model,
            ultralytics=told.ultralytics or self._context.ultralytics,
            class_names=told.class_names or self._context.class_names,
        )
        return prediction.detections

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"{type(self).__name__}({self.deployment.ref!r}, model={self._context.model!r})"


class Endpoint(_Endpoint):
    """A deployment as `driftline.records.Predictor`; made by `PlatformClient.endpoint`.

    Attributes:
        deployment: the deployment as it was when this was made.
    """

    def __init__(
        self,
        deployment: Deployment,
        options: PredictOptions,
        ask: Callable[[Image], Prediction],
    ) -> None:
        """Keep what to ask, and how."""
        super().__init__(deployment, options)
        self._ask = ask

    def predict(self, image: Image) -> Detections:
        """The boxes in one image, in pixels; errors as in `PlatformClient.predict`."""
        return self._learn(self._ask(image))


class AsyncEndpoint(_Endpoint):
    """A deployment as a detector to await; made by `AsyncPlatformClient.endpoint`.

    Attributes:
        deployment: the deployment as it was when this was made.
    """

    def __init__(
        self,
        deployment: Deployment,
        options: PredictOptions,
        ask: Callable[[Image], Awaitable[Prediction]],
    ) -> None:
        """Keep what to ask, and how."""
        super().__init__(deployment, options)
        self._ask = ask

    async def predict(self, image: Image) -> Detections:
        """The boxes in one image, in pixels; errors as in `PlatformClient.predict`."""
        return self._learn(await self._ask(image))
