"""Text that no encoding can carry, found by fuzzing."""

import httpx
import pytest

from driftline import PlatformClient
from driftline.errors import UnreadableReply
from driftline.testing import FrozenClock


def test_a_page_token_that_cannot_be_sent_back_is_a_fault_of_the_reply():
    """Half of a surrogate pair is valid JSON, and no URL."""
    page = b'{"entries": [], "nextPageToken": "\\ud800"}'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=page))
    with httpx.Client(transport=transport) as http:
        client = PlatformClient(
            "ul_" + "0" * 40, "https://platform.example", "acme", FrozenClock(), http_client=http
        )
        with pytest.raises(UnreadableReply, match="nextPageToken"):
            list(client.logs("acme/line-3"))
