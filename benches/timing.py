"""CPU time, throughput and latency with wrk, in rounds that take every setup in turn.

Whatever is measured has a core of its own; the upstream and wrk share another. A round visits all setups before the
next one begins, so that a machine that slows down slows all of them down, and the table shows medians over rounds.
"""

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from instructions import works
from processes import Connection, cpu_seconds, envoy, free_port, open_port, running
from setups import Setup, behind_processor

MEASURED_CORE, OTHER_CORE = "0", "1"
# Many short rounds: on a shared machine the speed changes from one second to the next.
ROUNDS, SECONDS = 20, 1
# A rate that all of them can serve, for latency: each connection pauses before each request. And more than any of them
# can serve, for throughput.
PACED, PAUSE_MILLISECONDS, MANY = 10, 100, 64
RATE = PACED * 1000 // PAUSE_MILLISECONDS
PYTHON = Path(__file__).parent.parent / ".tools/bench/bin/python"
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass
class Target:
    """What serves, and under which process."""

    setup: Setup
    port: int
    # All processes that a request passes on its way.
    pids: list[int]


@dataclass
class Sample:
    requests_per_second: float
    cpu_microseconds: float
    p50: float
    p99: float


def measure(binary: Path, setups: list[Setup], model_port: int, scratch: Path) -> dict[str, tuple[Sample, Sample]]:
    """By setup: the medians at a fixed rate, and at many connections."""
    samples: dict[tuple[str, int], list[Sample]] = {}
    with ExitStack() as stack:
        targets = []
        for setup in setups:
            proxy = stack.enter_context(envoy(binary, setup.config, ("taskset", "-c", MEASURED_CORE)))
            targets.append(Target(setup, proxy.port, [proxy.pid]))
        targets.append(processor(stack, binary, model_port, scratch))
        targets.append(router(stack, setups[0], model_port, scratch))
        for round in range(ROUNDS + 1):
            for target in targets:
                for connections in (PACED, MANY):
                    sample = wrk(target, connections, scratch)
                    # The first round is for warming up.
                    if round:
                        samples.setdefault((target.setup.key, connections), []).append(sample)
            print(f"bench: round {round} of {ROUNDS}", file=sys.stderr)
    return {t.setup.key: (middle(samples[t.setup.key, PACED]), middle(samples[t.setup.key, MANY])) for t in targets}


def router(stack: ExitStack, plain: Setup, model_port: int, scratch: Path) -> Target:
    """The Python service, with one worker."""
    port, log = free_port(), scratch / "router.log"
    command = [*("taskset", "-c", MEASURED_CORE), PYTHON, *("-B", "-m", "uvicorn", "router:app")]
    command += ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    environment = os.environ | {"UPSTREAM": f"http://127.0.0.1:{model_port}"}
    process = stack.enter_context(running(command, log, cwd=Path(__file__).parent, env=environment))
    open_port(process, port, log)
    setup = Setup("router", "FastAPI router (uvicorn, httpx)", {}, headers=plain.headers, expects=("x-ab-variant",))
    status, headers = Connection(port).send(setup.request(1))
    if status != 200 or "x-ab-variant" not in headers:
        raise SystemExit(f"bench: the router answers {status} {headers}:\n{log.read_text()}")
    return Target(setup, port, [process.pid])


def processor(stack: ExitStack, binary: Path, model_port: int, scratch: Path) -> Target:
    """An Envoy that asks a Python service over gRPC, both on the core that is measured."""
    port, log = free_port(), scratch / "ext_proc.log"
    command = ["taskset", "-c", MEASURED_CORE, PYTHON, "-B", "ext_proc.py", str(port)]
    process = stack.enter_context(running(command, log, cwd=Path(__file__).parent))
    open_port(process, port, log)
    setup = behind_processor(model_port, port)
    proxy = stack.enter_context(envoy(binary, setup.config, ("taskset", "-c", MEASURED_CORE)))
    works(setup, Connection(proxy.port))
    return Target(setup, proxy.port, [proxy.pid, process.pid])


def wrk(target: Target, connections: int, scratch: Path) -> Sample:
    script = scratch / f"{target.setup.key}-{connections}.lua"
    if not script.exists():
        # The very bytes that the instructions were counted with.
        request = target.setup.request(0).decode().replace("%", "%%").replace("user-000000", "user-%06d")
        places = ", ".join(["user"] * request.count("user-%06d"))
        script.write_text(
            f"local user = 0\nfunction request()\n  user = user + 1\n"
            f"  return string.format([==[\n{request}]==], {places})\nend\n"
            + (f"function delay() return {PAUSE_MILLISECONDS} end\n" if connections == PACED else "")
        )
    before = sum(map(cpu_seconds, target.pids))
    command = ["taskset", "-c", OTHER_CORE, "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency"]
    # A slow service is to be slow in the table, and not missing from it.
    command += ["--timeout", "30s"]
    done = subprocess.run(
        [*command, "-s", script, f"http://127.0.0.1:{target.port}"], capture_output=True, text=True, check=True
    )
    cpu = sum(map(cpu_seconds, target.pids)) - before
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"bench: {target.setup.name}:\n{done.stdout}")
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout).groups()
    return Sample(
        int(requests) / float(seconds), cpu / int(requests) * 1e6, latency(done.stdout, 50), latency(done.stdout, 99)
    )


def latency(text: str, percentile: int) -> float:
    """In microseconds."""
    number, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(number) * UNITS[unit]


def middle(samples: list[Sample]) -> Sample:
    return Sample(*(median(getattr(sample, name) for sample in samples) for name in Sample.__dataclass_fields__))
