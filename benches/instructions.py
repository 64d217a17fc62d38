"""Instructions per request, counted by callgrind over the whole Envoy, V8 included.

The count hardly depends on what else the machine does. It is taken after thousands of requests, when V8 has compiled
what is hot. What Envoy does without requests (the filter's ticks, timers) is counted over idle seconds and taken off.
"""

import re
import subprocess
import time
from pathlib import Path

from processes import Connection, Envoy, envoy
from setups import Setup

WARM, SETTLE, COUNTED, IDLE_SECONDS = 4000, 50, 1000, 3
CALLGRIND = (
    *("valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no"),
    "--callgrind-out-file=DIRECTORY/callgrind.out",
)


def measure(binary: Path, setup: Setup) -> tuple[float, float]:
    """Instructions per request, and per second without requests."""
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
        send(setup, connection, COUNTED)
        seconds = time.monotonic() - began
        total = dump(proxy)
    return (total - idle * seconds) / COUNTED, idle


def works(setup: Setup, connection: Connection) -> None:
    """Every answer is good and says what it should."""
    for user in range(20):
        status, headers = connection.send(setup.request(user))
        missing = [name for name in setup.expects if name not in headers]
        if status != 200 or missing:
            raise SystemExit(f"bench: {setup.name}: status {status}, missing {missing}, got {headers}")


def send(setup: Setup, connection: Connection, count: int) -> None:
    for user in range(count):
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
