"""A server on loopback that misbehaves in one way at a time."""

import socket
import struct
import subprocess
import threading
import time

HUGE = 3 * 2**20
GOOD = b'{"status": "ok", "dedup_key": "k"}'
HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nConnection: close\r\n"


class FaultServer:
    """Answers each connection once, in the way `fault` names; None is a plain success."""

    def __init__(self, *, elsewhere="", context=None):
        self.fault, self.elsewhere, self.context = None, elsewhere, context
        self.requests: list[bytes] = []
        self.outwaited = False  # whether a client had more patience than a hang
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.05)
        self.port = self._listening.getsockname()[1]

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_exc):
        self._closing.set()
        for thread in list(self._threads):
            thread.join(60)
        self._listening.close()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            self._start(self._serve, connection)

    def _serve(self, connection):
        with connection:
            connection.settimeout(60)
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                self.requests.append(_request(connection))
                getattr(self, f"_{self.fault or 'good'}")(connection)
            except OSError:
                pass  # the client left, as it should
            finally:
                connection.close()

    def _good(self, connection):
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD)

    def _slow(self, connection):
        connection.sendall(HEAD + b"Content-Length: 9999\r\n\r\n")
        for _ in range(20):
            connection.sendall(b" ")
            time.sleep(0.05)

    def _hang(self, _connection):
        self.outwaited = not self._closing.wait(60)

    def _reset(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _garbage(self, connection):
        connection.sendall(b"\x00\xff\xfe no HTTP at all\r\n\r\n")

    def _partial(self, connection):
        connection.sendall(HEAD.replace(b"202", b"503") + b'Content-Length: 9999\r\n\r\n{"err')

    def _wrong_type(self, connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n"
            b"Connection: close\r\n\r\n<html>hi</html>"
        )

    def _huge(self, connection):
        head = HEAD.replace(b"202", b"503") + b"Content-Length: %d\r\n\r\n" % HUGE
        connection.sendall(head + b"x" * HUGE)

    def _redirect(self, connection):
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: %s/stolen\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n" % self.elsewhere.encode()
        )


def _request(connection):
    """Head and body: a body that stays unread would make the close a reset."""
    taken = b""
    while b"\r\n\r\n" not in taken and (part := connection.recv(65536)):
        taken += part
    head, _, body = taken.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length and (part := connection.recv(65536)):
        body += part
    return head


def self_signed(folder):
    """Certificate and key that nobody has signed, made by openssl on the spot."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"
