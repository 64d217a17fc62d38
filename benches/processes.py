"""Starting, asking and ending the programs that are measured."""

import json
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 120


class Envoy:
    """A running Envoy: its process, its listener's port, and the directory of its files."""

    def __init__(self, process: subprocess.Popen, directory: Path, admin: str):
        self.process, self.directory, self.admin = process, directory, admin
        listeners = json.loads(self.ask("/listeners?format=json"))["listener_statuses"]
        self.port = listeners[0]["local_address"]["socket_address"]["port_value"]

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=30) as answer:
            return answer.read().decode()


@contextmanager
def envoy(binary: Path, config: dict | str, before: tuple = ()):
    """An Envoy with one worker; text is YAML, and `before` goes in front of its command line."""
    with tempfile.TemporaryDirectory(prefix="sidetrack-bench-") as name:
        directory = Path(name)
        file = directory / ("envoy.yaml" if isinstance(config, str) else "envoy.json")
        file.write_text(config if isinstance(config, str) else json.dumps(config))
        log = directory / "log"
        command = [
            *(part.replace("DIRECTORY", name) for part in before),
            *(binary, "--config-path", file, "--concurrency", "1"),
            *("--disable-hot-restart", "-l", "warning", "--admin-address-path", directory / "admin"),
        ]
        with running(command, log) as process:
            yield Envoy(process, directory, ready(process, directory / "admin", log))


@contextmanager
def running(command: list, log: Path, **more):
    """A process that is ended when the block is left."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, **more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(process: subprocess.Popen, admin_file: Path, log: Path) -> str:
    """Waits until Envoy is ready for traffic; its admin address."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            admin = admin_file.read_text().strip()
            with urllib.request.urlopen(f"http://{admin}/ready", timeout=10) as answer:
                if answer.status == 200:
                    return admin
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"bench: Envoy did not start:\n{log.read_text()}")


def open_port(process: subprocess.Popen, port: int, log: Path) -> None:
    """Waits until the process listens on the port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"bench: {process.args} does not listen:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads, counted in nanoseconds; /proc/PID/stat counts in hundredths of a second."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, dict]:
        """Sends a request, reads its answer: status and headers."""
        self.socket.sendall(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self.receive()
        status, *lines = data[:end].decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        missing = end + 4 + int(headers.get("content-length", 0)) - len(data)
        while missing > 0:
            missing -= len(self.receive())
        return int(status.split()[1]), headers

    def receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit("bench: the connection was closed")
        return data
