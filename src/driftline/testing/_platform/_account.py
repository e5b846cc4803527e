"""``/api/account``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from driftline.testing._platform._router import Request, Response, Route

if TYPE_CHECKING:
    from driftline.testing._platform._world import World


def _summary(world: World, _request: Request) -> Response:
    with world.lock:
        projects = {model.split("/")[0] for model in world.models}
        counts = {
            "projects": len(projects),
            "datasets": len(world.workspace.datasets),
            "models": len(world.models),
        }
        credits_cents = round(world.workspace.credits_cents)
    return Response(
        body={
            "username": world.owner,
            "name": world.owner,
            "accountType": "team",
            "plan": "pro",
            "creditsCents": credits_cents,
            "counts": counts,
            "teams": [],
        }
    )


ROUTES: Final = (Route("GET", "/api/account/summary", _summary, "account"),)
