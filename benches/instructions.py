"""Instructions per request, counted by callgrind over the whole Envoy, V8 included.

The count hardly depends on what else the machine does. It is taken after thousands of requests, when V8 has compiled
what is hot.

What Envoy does by the clock and not by the request (timers, the filter's ticks) must not depend on how long the requests
take on this machine today. So a few requests are spread over seconds first: those and the many that follow at once are
two equations for the price of a request and the price of a second with traffic.
"""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from processes import Connection, Envoy, envoy
from setups import Setup, variant

WARM, SETTLE, COUNTED, IDLE_SECONDS = 4000, 50, 1000, 3
# A few requests, spread so that each of the filter's ticks, ten a second, has something to tell.
SPREAD, BUSY_SECONDS = 40, 4
CALLGRIND = (
    *("valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no"),
    "--callgrind-out-file=DIRECTORY/callgrind.out",
)


@dataclass
class Price:
    """In instructions."""

    request: float
    idle_second: float
    busy_second: float


def measure(binary: Path, setup: Setup) -> Price:
    with envoy(binary, setup.config, CALLGRIND) as proxy:
        connection = Connection(proxy.port)
        works(setup, connection)
        send(setup, connection, WARM)
        control(proxy, "-i", "on")
        send(setup, connection, SETTLE)
        control(proxy, "-z")
        time.sleep(IDLE_SECONDS)
        idle = dump(proxy) / IDLE_SECONDS
        began = time.monotonic()
        for user in range(SPREAD):
            send(setup, connection, 1, user)
            time.sleep(max(0.0, began + (user + 1) * BUSY_SECONDS / SPREAD - time.monotonic()))
        spread_seconds = time.monotonic() - began
        spread = dump(proxy)
        began = time.monotonic()
        send(setup, connection, COUNTED)
        seconds = time.monotonic() - began
        at_once = dump(proxy)
    share = seconds / spread_seconds
    request = (at_once - spread * share) / (COUNTED - SPREAD * share)
    return Price(request, idle, (spread - SPREAD * request) / spread_seconds)


def works(setup: Setup, connection: Connection) -> None:
    """Every answer is good, says what it should, and is the one that the recipe gives."""
    for user in range(100):
        status, headers = connection.send(setup.request(user))
        missing = [name for name in setup.expects if name not in headers]
        if status != 200 or missing:
            raise SystemExit(f"bench: {setup.name}: status {status}, missing {missing}, got {headers}")
        if setup.draws and headers["x-ab-variant"] != variant(user):
            raise SystemExit(f"bench: {setup.name}: user {user} gets {headers['x-ab-variant']}")


def send(setup: Setup, connection: Connection, count: int, first: int = 0) -> None:
    for user in range(first, first + count):
        connection.send(setup.request(user))


def control(proxy: Envoy, *command: str) -> None:
    done = subprocess.run(["callgrind_control", *command, str(proxy.pid)], capture_output=True, text=True)
    if done.returncode or "Error" in done.stdout + done.stderr:
        raise SystemExit(f"bench: callgrind_control {command}: {done.stdout}{done.stderr}")


def dump(proxy: Envoy) -> int:
    """What was counted since the last dump."""
    before = set(proxy.directory.glob("callgrind.out.*"))
    control(proxy, "-d")
    (file,) = set(proxy.directory.glob("callgrind.out.*")) - before
    return totals(file)


def totals(file: Path) -> int:
    """The sum of a callgrind file."""
    return int(re.search(r"^totals: (\d+)", file.read_text(errors="replace"), re.M).group(1))
