"""`make bench-exposures`: the latency that exposures add to a request, as `sidetrack render envoy` has them logged.

The same Envoy thrice, with the exposures sent to a store over OTLP, written to a file, and without either, at a fixed
rate that all of them serve easily. A round visits all of them; the table has medians over rounds. See docs/store.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import setups
from bench import ROOT, find_envoy, table
from processes import Connection, Envoy, cpu_seconds, envoy, free_port, open_port, running
from timing import MEASURED_CORE, OTHER_CORE

EXPERIMENT = ROOT / "envoy/experiment.yaml"
LOGGERS = {"otlp": "envoy.access_loggers.open_telemetry", "file": "envoy.access_loggers.file"}
NAMES = {"none": "no exposures", "file": "exposures to a file", "otlp": "exposures to the store over OTLP"}


def main() -> None:
    options = arguments()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidetrack-bench-", dir=options.target)))
        os.sched_setaffinity(0, {int(OTHER_CORE)})
        binary = find_envoy()
        model = stack.enter_context(envoy(binary, setups.upstream(), ("taskset", "-c", OTHER_CORE)))
        port = serve(stack, options, scratch)
        rendered = render(options, model.port, port, scratch)
        proxies = {
            key: stack.enter_context(envoy(binary, only(rendered, key), ("taskset", "-c", MEASURED_CORE)))
            for key in NAMES
        }
        samples = {key: [] for key in NAMES}
        sent = 0
        for round in range(options.rounds + 1):
            for key, proxy in proxies.items():
                taken = sample(proxy, round, options)
                sent += key == "otlp" and options.rate * options.seconds
                # The first round is for warming up.
                if round:
                    samples[key].append(taken)
            print(f"bench: round {round} of {options.rounds}", file=sys.stderr)
        stored(port, sent)
        show(samples, options)


def sample(proxy: Envoy, round: int, options: argparse.Namespace) -> tuple[float, float, float]:
    """The median and the 99th percentile of a round in microseconds, and Envoy's processor time per request."""
    connection, times, count = Connection(proxy.port), [], options.rate * options.seconds
    requests = [request(round * count + number) for number in range(100)]
    before, due = cpu_seconds(proxy.pid), time.perf_counter()
    for number in range(count):
        due += 1 / options.rate
        late = time.perf_counter() > due
        if not late:
            time.sleep(due - time.perf_counter())
        # A request that waits for the one before it began when it was due.
        begun = due if late else time.perf_counter()
        status, _ = connection.send(requests[number % len(requests)])
        times.append(time.perf_counter() - begun)
        if status != 200:
            raise SystemExit(f"bench: Envoy answers {status}")
    cpu = cpu_seconds(proxy.pid) - before
    times.sort()
    return times[count // 2] * 1e6, times[count * 99 // 100] * 1e6, cpu / count * 1e6


def request(user: int) -> bytes:
    return setups.Setup("", "", {}).request(user)


def serve(stack: ExitStack, options: argparse.Namespace, scratch: Path) -> int:
    """A store; its port."""
    port, log = free_port(), scratch / "store.log"
    command = ["taskset", "-c", OTHER_CORE, options.command, "serve", "--store", scratch / "data"]
    command += [EXPERIMENT, "--listen", f"127.0.0.1:{port}"]
    process = stack.enter_context(running(command, log))
    open_port(process, port, log)
    return port


def render(options: argparse.Namespace, model: int, store: int, scratch: Path) -> str:
    command = [options.command, "render", "envoy", EXPERIMENT, "--otlp", f"127.0.0.1:{store}", "--wasm", options.wasm]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", scratch / "access.log"]
    for cluster in (setups.BASELINE, setups.ENHANCED):
        command += ["--endpoint", f"{cluster}=127.0.0.1:{model}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def only(rendered: str, key: str) -> str:
    """The configuration with this logger of exposures and without the other ones."""
    for other, logger in LOGGERS.items():
        if other == key:
            continue
        start = rendered.index(f"- name: {logger}\n")
        indent = start - rendered.rindex("\n", 0, start) - 1
        end = rendered.index(f"\n{' ' * indent}- name: ", start)
        rendered = rendered[:start] + rendered[end + 1 + indent :]
    return rendered


def stored(port: int, sent: int) -> None:
    """Checks that the store has all of them, so that nothing is measured that does not work."""
    name = 'sidetrack_store_exposures_total{result="stored"} '
    for _ in range(100):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = [int(line.removeprefix(name)) for line in lines if line.startswith(name)]
        if found == [sent]:
            return
        time.sleep(0.1)
    raise SystemExit(f"bench: the store has {found} of {sent} exposures")


def show(samples: dict[str, list[tuple[float, float, float]]], options: argparse.Namespace) -> None:
    seconds = f"{options.rounds} interleaved rounds of {options.seconds} s at {options.rate} requests a second"
    print(f"One core for Envoy; medians of {seconds}\n")
    middles = {key: [median(column) for column in zip(*taken)] for key, taken in samples.items()}
    header = ["access log", "p50 µs", "p99 µs", "added, p50", "added, p99", "CPU µs/request"]
    lines = []
    for key, (p50, p99, cpu) in middles.items():
        more = [f"{value - base:+.0f}" for value, base in zip((p50, p99), middles["none"])]
        lines.append([NAMES[key], f"{p50:.0f}", f"{p99:.0f}", *(more if key != "none" else "––"), f"{cpu:.0f}"])
    table(header, lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--seconds", type=int, default=2, help="the length of a round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--command", type=Path, default=ROOT / "dist/sidetrack", help="the command")
    parser.add_argument("--wasm", type=Path, default=ROOT / "dist/sidetrack.wasm", help="the module")
    parser.add_argument("--target", type=Path, default=ROOT / "target", help="where the store may write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
