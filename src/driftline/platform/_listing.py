"""A listing that was cut off, split by the Platform's filters: it lists 100 and has no next page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from typing import Final, TypeAlias

from driftline._wire import Flow
from driftline.platform._deployment import Deployment, DeploymentList, DeploymentStatus

Page: TypeAlias = Callable[[DeploymentStatus | None, str | None], Flow[DeploymentList]]
"""One call: the deployments of a status and of a model, None for all."""

MOST_CALLS: Final = 60
"""Calls that one listing may take: the metrics of the same key need the rest of its minute."""
_BY_NUMBER: Final = (
    DeploymentStatus.READY,
    DeploymentStatus.STOPPED,
    DeploymentStatus.FAILED,
    DeploymentStatus.DEPLOYING,
    DeploymentStatus.STOPPING,
    DeploymentStatus.CREATING,
)
"""Where most deployments are, first: the search ends when all are found."""


class _Search:
    """What was found of so many."""

    def __init__(self, whole: DeploymentList) -> None:
        self.whole = whole
        self.found: dict[str, Deployment] = {}
        self.calls = 0
        self.take(whole)

    def take(self, part: Iterable[Deployment]) -> None:
        """Add a part; a deployment that changed its status meanwhile counts once."""
        self.found |= {deployment.id: deployment for deployment in part}

    @property
    def over(self) -> bool:
        """Whether to ask no further."""
        return len(self.found) >= self.whole.total or self.calls >= MOST_CALLS

    def models(self) -> list[str]:
        """The models seen so far, the most used first."""
        refs = (deployment.model_ref for deployment in self.found.values())
        return [model for model, _ in Counter(filter(None, refs)).most_common()]

    def result(self) -> DeploymentList:
        """Everything that was found, of as many as there are."""
        return DeploymentList(self.found.values(), total=self.whole.total, region=self.whole.region)


def split(
    whole: DeploymentList, page: Page, *, status: DeploymentStatus | None, model: str | None
) -> Flow[DeploymentList]:
    """As much of a cut-off listing as its filters bring to light.

    First by status, then, within each status that is cut off as well, by the models that were
    seen. A model none of whose deployments was seen stays unseen: `DeploymentList.unlisted` counts.

    Args:
        whole: the listing that was cut off.
        page: asks for a part of it.
        status: the status it was asked for.
        model: the model it was asked for.
    """
    search = _Search(whole)
    cut_off = [status] if status is not None else []
    for each in () if status is not None else _BY_NUMBER:
        if search.over:
            break
        part = yield from page(each, model)
        search.calls += 1
        search.take(part)
        cut_off += [each] if part.unlisted else []
    for one, each in product(search.models() if model is None else (), cut_off):
        if search.over:
            break
        search.calls += 1
        search.take((yield from page(each, one)))
    return search.result()
