"""`make bench`: what a request costs in a real Envoy. See docs/performance.md."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import instructions
import setups
import timing
from processes import envoy
from setups import Setup, all_setups, upstream

ROOT = Path(__file__).parent.parent
# What Sidetrack may cost: added by the full setup against what Lua adds, and the lean one against weighted clusters.
MOST_OF_LUA, MOST_OF_WEIGHTED = 0.8, 1.18


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="sidetrack-bench-") as scratch:
        if options.hostcalls:
            hostcalls(options, Path(scratch))
            return
        binary = find_envoy()
        with envoy(binary, upstream(), pinned()) as model:
            known = all_setups(model.port, options.wasm, options.target / "bench/empty.wasm")
            chosen = [setup for setup in known if not options.only or setup.key in options.only]
            if not options.timing:
                count(binary, chosen)
            if options.timing or not options.only:
                time(binary, chosen, model.port, Path(scratch))
        if not options.only and not options.timing:
            decisions(options)
            hostcalls(options, Path(scratch))


def count(binary: Path, chosen: list[Setup]) -> None:
    """The first table: instructions."""
    print("Instructions per request, over the whole Envoy\n")
    totals = {}
    rows = []
    for setup in chosen:
        print(f"bench: callgrind: {setup.name}", file=sys.stderr)
        price = instructions.measure(binary, setup)
        totals[setup.key] = price.request
        rows.append((setup, price))
    header = ["setup", "total", "added", "of weighted, total", "of Lua, added", "of Lua FNV, added"]
    header += ["per idle second", "per busy second"]
    lines = []
    luas = [totals[key] - totals["plain"] if {key, "plain"} <= totals.keys() else None for key in ("same", "fnv")]
    for setup, price in rows:
        total = totals[setup.key]
        added = total - totals[setup.base] if setup.base in totals else None
        comparable = setup.base == "plain" and setup.key != "mirrored"
        to_weighted = ratio(total, totals.get("weighted")) if comparable else "–"
        to_luas = [ratio(added, lua) if comparable and setup.key != "plain" else "–" for lua in luas]
        shown_added = thousands(added) if added is not None and setup.key != "mirrored" else "–"
        seconds = [thousands(price.idle_second), thousands(price.busy_second)]
        lines.append([setup.name, thousands(total), shown_added, to_weighted, *to_luas, *seconds])
    table(header, lines)
    goals(totals)


def goals(totals: dict[str, float]) -> None:
    for key, what in (("same", "a Lua filter with the same draw adds"), ("fnv", "a Lua filter with FNV adds")):
        if {"plain", key, "full"} <= totals.keys():
            share = (totals["full"] - totals["plain"]) / (totals[key] - totals["plain"])
            goal = f"the goal is at most {MOST_OF_LUA}: {met(share <= MOST_OF_LUA)}"
            print(f"full adds {share:.2f} of what {what}; {goal}")
    if {"weighted", "lean"} <= totals.keys():
        share = totals["lean"] / totals["weighted"]
        goal = f"the goal is at most {MOST_OF_WEIGHTED}: {met(share <= MOST_OF_WEIGHTED)}"
        print(f"lean takes {share:.2f} of what weighted clusters take in total; {goal}")
    print()


def met(yes: bool) -> str:
    return "met" if yes else "missed"


def time(binary: Path, chosen: list[Setup], model_port: int, scratch: Path) -> None:
    """The second table: time."""
    results = timing.measure(binary, chosen, model_port, scratch)
    print(f"One core for what is measured; medians of {timing.ROUNDS} interleaved rounds\n")
    names = {setup.key: setup.name for setup in chosen}
    names |= {"router": "FastAPI router (uvicorn, httpx)", "processor": "`ext_proc`, Python over gRPC"}
    header = ["setup", "CPU µs/request", "p50 µs", "p99 µs", "requests/s", "CPU µs/request", "p50 ms", "p99 ms"]
    lines = [
        [
            names[key],
            f"{few.cpu_microseconds:.1f}",
            f"{few.p50:.0f}",
            f"{few.p99:.0f}",
            thousands(many.requests_per_second),
            f"{many.cpu_microseconds:.1f}",
            f"{many.p50 / 1e3:.2f}",
            f"{many.p99 / 1e3:.2f}",
        ]
        for key, (few, many) in results.items()
    ]
    print(f"The first three at {timing.RATE} requests a second, the last four at {timing.MANY} connections.\n")
    table(header, lines)


def decisions(options: argparse.Namespace) -> None:
    """The decision without Envoy."""
    program = options.target / "release/decide"
    print("The decision alone, natively\n", flush=True)
    subprocess.run([program, "time"], check=True)
    few, many = 1000, 101_000
    each = (counted(program, many) - counted(program, few)) / (many - few)
    print(f"decide: {each:.0f} instructions, making the request's headers included\n")


def counted(program: Path, loops: int) -> int:
    """All instructions of a run."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, "loop", str(loops)]
        subprocess.run(command, check=True, capture_output=True)
        return instructions.totals(out)


def hostcalls(options: argparse.Namespace, scratch: Path) -> None:
    """What crosses the border of the VM, for the full and the lean setup."""
    files = []
    for name, file, variable in (("full", setups.full(), ""), ("lean", setups.lean(), ":SIDETRACK_ROUTES_TELL")):
        (scratch / f"{name}.json").write_text(json.dumps(file))
        files.append(f"{scratch / name}.json:SIDETRACK_ROUTES_CLEAN{variable}")
    subprocess.run([options.target / "debug/hostcalls", options.wasm, *files], check=True)


def table(header: list[str], lines: list[list[str]]) -> None:
    """As Markdown, so that it can be copied into the documentation."""
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    for line in [header, rule, *lines]:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def thousands(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def ratio(number: float | None, by: float | None) -> str:
    return f"{number / by:.2f}" if number is not None and by else "–"


def pinned() -> tuple:
    return ("taskset", "-c", timing.OTHER_CORE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hostcalls", action="store_true", help="print host calls and VM entries per request, only")
    parser.add_argument("--timing", action="store_true", help="measure time, only")
    parser.add_argument("--only", nargs="*", metavar="SETUP", help="count the instructions of these, only")
    parser.add_argument("--wasm", type=Path, default=ROOT / "dist/sidetrack.wasm", help="the module to measure")
    parser.add_argument("--target", type=Path, default=ROOT / "target", help="where the helpers were built")
    return parser.parse_args()


def find_envoy() -> Path:
    version = os.environ.get("ENVOY_VERSION", "1.40.0")
    path = Path(os.environ.get("ENVOY_PATH") or ROOT / ".tools/envoy" / version / "envoy")
    if not os.access(path, os.X_OK):
        sys.exit(f"bench: no Envoy at {path}: run `make setup`, or set ENVOY_PATH")
    return path


if __name__ == "__main__":
    main()
