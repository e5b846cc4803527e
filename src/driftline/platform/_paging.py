"""A walk through the pages of a listing: when it is over, and that it does not go in a circle."""

from __future__ import annotations

from driftline.errors import UnreadableReply


class Walk:
    """Where a walk through pages stands.

    Attributes:
        token: what the next page is called; None for the first.
        pages: pages seen so far.
        taken: entries taken so far.
    """

    def __init__(self, *, limit: int | None, page_size: int, path: str, key: str) -> None:
        """Stand before the first page.

        Args:
            limit: most entries; None for as many as there are.
            page_size: most entries of a page.
            path: where the pages are, for errors.
            key: name of the token in a page, for errors.
        """
        self.token: str | None = None
        self.pages = 0
        self.taken = 0
        self._limit = limit
        self._page_size = page_size
        self._path = path
        self._key = key
        self._tokens: set[str] = set()
        self._over = limit == 0

    @property
    def more(self) -> bool:
        """Whether to ask for another page."""
        return not self._over

    @property
    def left(self) -> int | None:
        """How many entries are still to be taken; None for as many as there are."""
        return None if self._limit is None else self._limit - self.taken

    @property
    def page_size(self) -> int:
        """How many entries the next page needs to have."""
        return self._page_size if self.left is None else min(self._page_size, self.left)

    def step(self, taken: int, token: str | None, *, last: bool = False) -> None:
        """Stand before the next page.

        Args:
            taken: entries taken of this page.
            token: what the next page is called; None when there is none.
            last: whether this was the last page that is wanted.

        Raises:
            UnreadableReply: the page leads back to an earlier one.
        """
        self.pages += 1
        self.taken += taken
        self.token = token
        self._over = last or token is None or self.left == 0
        if self._over or token is None:
            return
        if token in self._tokens:
            msg = (
                f"the pages of {self._path} lead in a circle: one names an earlier one as its next"
            )
            error = UnreadableReply(msg, method="GET", path=self._path)
            error.problems = (f"$.{self._key}: comes twice",)
            raise error
        self._tokens.add(token)
