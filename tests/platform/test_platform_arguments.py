"""Arguments of a wrong kind are refused by name, before anything is sent and anything is spent."""

import pytest
from platform_server import Answer

from driftline.errors import InputError
from driftline.platform import PlatformClient

START = {"data": "frames", "base": "yolo26n.pt", "epochs": 10, "approve_cost": True}
IMAGE = "65f0000000000000000000a1"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda c: c.training.start("a/b", **START, budget_cents="12"),
            "budget_cents='12' must be",
        ),
        (lambda c: c.training.start("a/b", **START, budget_cents=float("nan")), "budget_cents=nan"),
        (lambda c: c.training.start("a/b", **START, lr0="0.001"), "lr0='0.001' must be a number"),
        (
            lambda c: c.training.start("a/b", **START | {"epochs": 1.5}),
            "epochs=1.5 must be a whole",
        ),
        (lambda c: c.training.start("a/b", **START | {"base": None}), "None is no model"),
        (lambda c: c.training.start("a/b", **START, more=3), "more=3 must be arguments"),
        (lambda c: c.datasets.create("a", class_names="car"), "class_names='car' must be a list"),
        (lambda c: c.datasets.upload("a", 3, split="train"), "archive=3 must be a path"),
        (lambda c: c.datasets.save_labels(IMAGE, None), "labels=None must be a list"),
        (lambda c: c.datasets.save_labels(IMAGE, [3]), r"labels\[0\]=3 must be a Label"),
        (lambda c: c.datasets.images("a", limit="x"), "limit='x' must be 0 or more"),
        (lambda c: c.datasets.images("a", page_size=1.5), "page_size=1.5 must be a whole number"),
        (lambda c: c.datasets.predict_image(IMAGE, "a/b", conf=2), "conf=2 must be a number from"),
        (lambda c: c.datasets.predict_image(IMAGE, "a/b", iou=float("nan")), "iou=nan must be a"),
        (lambda c: c.datasets.predict_batch("a", "b/c", approve_cost=True, conf="x"), "conf='x'"),
        (
            lambda c: c.datasets.predict_batch(
                "a", "b/c", approve_cost=True, class_mapping=[(0, 1)]
            ),
            r"class_mapping=\[\(0, 1\)\] must be class indices",
        ),
        (lambda c: c.datasets.create("a", metadata=[1]), r"metadata=\[1\] must be names"),
        (lambda c: c.datasets.create("a", metadata={"at": object()}), "only plain JSON .* object"),
        (lambda c: c.models.create("a/b", metadata={"map": float("nan")}), "only plain JSON"),
        (lambda c: c.models.create("a/b", metadata=3), "metadata=3 must be names"),
        (lambda c: c.models.download("best.pt"), "file='best.pt' must be one of models.files"),
        (lambda c: c.datasets.freeze_version("a", None), "description=None must be text"),
        (
            lambda c: c.datasets.upload("a", b"PK", split="train", resume={"stage": "stored"}),
            "resume={'stage': 'stored'} must be the DatasetUpload",
        ),
        (lambda c: c.request("GET /api/models"), "call='GET /api/models' must be a"),
    ],
)
def test_nothing_is_sent(face, call, said):
    """A budget above all: compared after the start, it would come too late."""
    client = face(lambda _: Answer(status=500), owner="acme")
    with pytest.raises(InputError, match=said):
        call(client)

    assert [] == client.calls


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate_limits": 3}, "rate_limits=3 must be categories"),
        ({"rate_limits": {"predict": "20"}}, r"rate_limits\['predict'\]='20' must be a whole"),
        ({"retry": 3}, "retry=3 must be a driftline.platform.Retry"),
        ({"timeout": 30}, "timeout=30 must be a timedelta"),
        ({"clock": PlatformClient}, "clock=.* is a class"),
    ],
)
def test_options_of_a_client(options, said):
    """So are those of the client itself."""
    with pytest.raises(InputError, match=said):
        PlatformClient(api_key="ul_" + "0" * 40, **options)
