"""Requests about deployments: their paths and parameters, and the rate limits of all calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from attrs import field, frozen

from driftline._checks import refuse_number, refuse_other
from driftline._wire import Call, Upload
from driftline.errors import InputError
from driftline.platform._deployment import Address, DeploymentStatus
from driftline.platform._metrics import View, Window

WINDOWS: Final[tuple[Window, ...]] = ("1h", "6h", "24h", "7d", "30d")
VIEWS: Final[tuple[View, ...]] = ("full", "overview", "sparkline")
LIST_LIMIT: Final = 100
"""Most deployments of one listing; there is no second page (contract 0.1.9)."""
HEALTH_TIMEOUT_SECONDS: Final = 90.0
"""A ping wakes an endpoint that scaled to zero, which takes up to 55 s."""
PREDICT_TIMEOUT_SECONDS: Final = 90.0
"""As a ping: the first prediction after a pause waits for the cold start."""
LONGEST_SOURCE: Final = 4096

PER_MINUTE: Final[Mapping[str, int]] = {
    "default": 100,
    "training": 10,
    "upload": 10,
    "predict": 20,
    "export": 20,
    "download": 30,
    "mutation": 10,
    "hydrate": 20,
    "clustering": 10,
}
"""Calls a minute that one key may make, by category (the Platform's docs, ``api/index.md``).
A category that is not listed, such as ``direct``, is not limited."""


@frozen(kw_only=True)
class PredictOptions:
    """How an endpoint looks at an image; None leaves a setting to the Platform.

    Attributes:
        conf: confidence threshold, 0.01 to 1.
        iou: IoU threshold of the non-maximum suppression, 0 to 0.95.
        imgsz: inference size, px, 32 to 1280; None is the model's own size.
        normalize: ask for coordinates from 0 to 1; they are scaled back to pixels here.
        decimals: decimal places of coordinates, 0 to 10.
        bits: bits of a depth map, 8, 12 or 16.
        vid_stride: look at every n-th frame of a video.
    """

    conf: float | None = field(default=None)
    iou: float | None = field(default=None)
    imgsz: int | None = field(default=None)
    normalize: bool = False
    decimals: int | None = None
    bits: int | None = None
    vid_stride: int | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what the Platform would refuse (contract 0.1.9)."""
        within("conf", self.conf, 0.01, 1)
        within("iou", self.iou, 0, 0.95)
        within("imgsz", self.imgsz, 32, 1280, whole=True)
        within("decimals", self.decimals, 0, 10, whole=True)
        within("vid_stride", self.vid_stride, 1, 10_000, whole=True)
        refuse_other("bits", self.bits, (None, 8, 12, 16))

    def form(self) -> dict[str, str]:
        """The settings as text fields of a multipart body."""
        fields = {
            "conf": self.conf,
            "iou": self.iou,
            "imgsz": self.imgsz,
            "decimals": self.decimals,
            "bits": self.bits,
            "vid_stride": self.vid_stride,
            "normalize": "true" if self.normalize else None,
        }
        return {name: str(value) for name, value in fields.items() if value is not None}


def within(name: str, value: float | None, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a number that the Platform would refuse; None passes.

    Raises:
        InputError: it is no number from `low` to `high`.
    """
    if value is not None:
        what = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
        refuse_number(name, value, what, least=low, most=high, whole=whole)


def _path(address: Address, tail: str = "") -> str:
    owner, slug = quote(address.owner, safe=""), quote(address.slug, safe="")
    return f"/api/deployments/{owner}/{slug}{tail}"


def account() -> Call:
    """Whose key this is."""
    return Call(method="GET", path="/api/account/summary")


def deployments(owner: str, *, status: DeploymentStatus | None, model: str | None) -> Call:
    """The deployments of a workspace."""
    params: dict[str, str | int | float] = {"limit": LIST_LIMIT}
    if status is not None:
        params["status"] = status.value
    if model is not None:
        params["model"] = model
    return Call(method="GET", path=f"/api/deployments/{quote(owner, safe='')}", params=params)


def deployment(address: Address) -> Call:
    """One deployment."""
    return Call(method="GET", path=_path(address))


def metrics(address: Address, *, window: Window, view: View) -> Call:
    """What it did over a window."""
    params: dict[str, str | int | float] = {"range": window}
    if view == "sparkline":
        params["sparkline"] = "true"
    if view == "overview":
        params["view"] = "overview"
    return Call(method="GET", path=_path(address, "/metrics"), params=params)


def logs(
    address: Address, *, severities: tuple[str, ...], limit: int, page_token: str | None
) -> Call:
    """One page of its log."""
    params: dict[str, str | int | float] = {"limit": limit}
    if severities:
        params["severity"] = ",".join(severities)
    if page_token is not None:
        params["pageToken"] = page_token
    return Call(method="GET", path=_path(address, "/logs"), params=params)


def health(address: Address) -> Call:
    """A ping. It wakes the endpoint and may cost, so it is not repeated on a doubt."""
    return Call(
        method="GET",
        path=_path(address, "/health"),
        idempotent=False,
        timeout_seconds=HEALTH_TIMEOUT_SECONDS,
    )


def change(address: Address, body: Mapping[str, Any]) -> Call:
    """A start, stop or replace: never sent twice unless the first was surely refused."""
    return Call(
        method="PATCH",
        path=_path(address),
        json=dict(body),
        category="mutation",
        idempotent=False,
    )


def start() -> dict[str, str]:
    """Body of a change that starts it."""
    return {"action": "start"}


def stop() -> dict[str, str]:
    """Body of a change that stops it."""
    return {"action": "stop"}


def replace(project: str, model: str, name: str | None) -> dict[str, str]:
    """Body of a change that rolls out another model."""
    body = {"action": "replace", "project": project, "model": model}
    return body if name is None else {**body, "name": name}


def predict(
    address: Address,
    image: Upload | str,
    options: PredictOptions,
    *,
    service_url: str | None = None,
) -> Call:
    """A prediction, by way of the Platform or at the endpoint's own address.

    It is billed, so it is not repeated on a doubt.
    """
    form = options.form()
    if isinstance(image, str):
        if len(image) > LONGEST_SOURCE:
            msg = f"the URL has {len(image)} characters; the Platform takes {LONGEST_SOURCE}"
            raise InputError(msg)
        form["source"] = image
    return Call(
        method="POST",
        path=_path(address, "/predict") if service_url is None else f"{service_url}/predict",
        form=form,
        files={} if isinstance(image, str) else {"file": image},
        credential_origin=service_url or "",
        category="predict" if service_url is None else "direct",
        idempotent=False,
        timeout_seconds=PREDICT_TIMEOUT_SECONDS,
    )
