"""A scripted HTTP server on loopback: it answers what a test tells it to and keeps what came."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from driftline.platform import AsyncDatasets, AsyncModels, AsyncTraining

KEY = "ul_" + "0123456789abcdef" * 2 + "01234567"


@frozen(kw_only=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@frozen(kw_only=True)
class Answer:
    """What to answer."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)


Script = Callable[[Asked], Answer]


@define
class ScriptedServer:
    """``with ScriptedServer(script) as server``: `server.url`, `server.asked`."""

    script: Script
    asked: list[Asked] = field(factory=list)
    url: str = ""
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # headers and body in one packet: no waiting for a delayed ACK

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    method=self.command,
                    path=parts.path,
                    query={name: values[-1] for name, values in parse_qs(parts.query).items()},
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(length),
                )
                outer.asked.append(asked)
                answer = outer.script(asked)
                body = answer.body
                if body is None:
                    body = b"" if answer.json is None else json.dumps(answer.json).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HandClock:
    """A clock that only sleeping moves; threads share it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self):
        from datetime import UTC, datetime, timedelta

        return datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def deployment_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "65f0000000000000000000a1",
        "owner": "acme",
        "project": "line",
        "model": "yolo26s-v3",
        "task": "detect",
        "deployment": "line-3",
        "name": "Line 3",
        "status": "ready",
        "region": "us-central1",
        "serviceUrl": "https://line-3.example.run.app",
        "resources": {"cpu": 2, "memoryGi": 4, "minInstances": 0, "maxInstances": 1},
        "deployedAt": "2026-11-01T08:00:00.000Z",
        "createdAt": "2026-11-01T07:55:00.123Z",
        "updatedAt": "2026-11-20T07:55:00.123456Z",
    }
    row.update(changes)
    return {name: value for name, value in row.items() if value is not ...}


@frozen
class Group:
    """A group of calls, such as `datasets`, each called without ``await``."""

    _group: Any
    _called: Callable[[Any], Any]

    def __getattr__(self, name: str) -> Any:
        return self._called(getattr(self._group, name))


class Face:
    """One of the two faces over a script without a network, called without ``await``.

    `calls` holds what was asked, `clock` is moved by waiting only.
    """

    def __init__(self, kind: str, script: Script, **options: Any) -> None:
        import asyncio

        import httpx

        from driftline.platform import AsyncPlatformClient, PlatformClient

        self.calls: list[Asked] = []
        self.clock = options.setdefault("clock", HandClock())
        self._script = script
        self._runner = asyncio.Runner() if kind == "async" else None
        transport = httpx.MockTransport(self._handle)
        self._http = (
            httpx.Client(transport=transport)
            if kind == "sync"
            else httpx.AsyncClient(transport=transport)
        )
        client = PlatformClient if kind == "sync" else AsyncPlatformClient
        options.setdefault("owner", "acme")
        self.client = client(KEY, "https://platform.example", http_client=self._http, **options)

    def _handle(self, request: Any) -> Any:
        import httpx

        asked = Asked(
            method=request.method,
            path=request.url.raw_path.decode().partition("?")[0],
            query=dict(request.url.params),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.read() if self._runner is None else request.content,
        )
        self.calls.append(asked)
        answer = self._script(asked)
        if isinstance(answer, Exception):
            raise answer
        if answer.body is not None:
            return httpx.Response(answer.status, content=answer.body, headers=answer.headers)
        return httpx.Response(answer.status, json=answer.json, headers=answer.headers)

    def __getattr__(self, name: str) -> Any:
        return self._called(getattr(self.client, name))

    def _called(self, attribute: Any) -> Any:
        if self._runner is None:
            return attribute
        if isinstance(attribute, AsyncDatasets | AsyncModels | AsyncTraining):
            return Group(attribute, self._called)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **options: Any) -> Any:
            return self._runner.run(self._awaited(attribute(*args, **options)))

        return call

    async def _awaited(self, answer: Any) -> Any:
        return [item async for item in answer] if hasattr(answer, "__aiter__") else await answer

    def shut(self) -> None:
        if self._runner is None:
            self._http.close()
        else:
            self._runner.run(self._http.aclose())
            self._runner.close()

    @property
    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.calls]
