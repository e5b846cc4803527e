"""A sink of one's own: alerts as files in a folder, checked by the suite that ours pass.

Run it anywhere: it needs no network and writes to a temporary folder only.
"""

import hashlib
import json
import tempfile
from pathlib import Path

from driftline.errors import DeliveryFailed
from driftline.records import Alert, AlertStatus, Receipt
from driftline.testing import check_sink, example_alert


class FolderSink:
    """Keeps one file for each open alert, for a ticket system that watches a folder."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        """Keep the folder; it must be there when an alert comes."""
        self._folder = folder

    def send(self, alert: Alert) -> Receipt:
        """Write or remove the alert's file; the same key is always the same file."""
        name = hashlib.sha256(alert.key.encode("utf-8", "replace")).hexdigest()[:32]
        path = self._folder / f"{name}.json"
        try:
            if alert.status is AlertStatus.RESOLVED:
                path.unlink(missing_ok=True)
            else:
                path.write_text(json.dumps({"key": alert.key, "what": alert.summary}))
        except OSError as error:
            # A full disk or a lost mount may come back: the outbox shall try again.
            message = f"{self.name}: {path.name} was not written: {error.strerror}"
            raise DeliveryFailed(message) from error
        return Receipt(sink=self.name, reference=path.name)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        check_sink(
            lambda: FolderSink(folder),
            make_broken=lambda: FolderSink(folder / "not mounted"),
            open_keys=lambda: [path.name for path in folder.iterdir()],
        )
        print("FolderSink passes the suite.")

        sink = FolderSink(folder)
        receipt = sink.send(example_alert())
        print(f"Open: {receipt.reference}: {(folder / receipt.reference).read_text()}")
        sink.send(example_alert(status=AlertStatus.RESOLVED))
        print(f"Open after the resolve: {len(list(folder.iterdir()))}")


if __name__ == "__main__":
    main()
