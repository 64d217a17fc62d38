#!/usr/bin/env python3
"""Test runner: fetches tools and compiles side by side, then runs the test binaries side by side.

  scripts/test.py                    all tests
  scripts/test.py envoy properties   only the stages of these names
  scripts/test.py --mesh             the stages on a real mesh (`make test-mesh`)
  scripts/test.py --list             the names of all stages; also with --mesh

A stage is a test binary, or one module of a binary in SPLIT. The output of each stage goes to target/test-logs/;
the output of a failed stage is printed whole. SIDETRACK_TEST_TIMEOUT (seconds) replaces the limit of each stage.
"""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOGS = TARGET / "test-logs"
# A busy machine takes several times as long; only a hang takes longer than this.
LIMIT = int(os.environ.get("SIDETRACK_TEST_TIMEOUT", "900"))
# How often a line says what still runs.
HEARTBEAT = 60

# Binaries whose modules are stages of their own, as the modules have different needs.
SPLIT = {"filter", "deploy", "mesh"}
# Needs the control planes of scripts/setup.sh mesh, so it runs only with --mesh, and then nothing else does.
MESH = "mesh"

# How a stage uses the machine. WAITS, the default: starts programs and waits for them; several run side by side.
# BUSY computes on all cores: one runs at a time, beside waiting ones. QUIET measures time, so it runs alone.
WAITS, BUSY, QUIET = "waits", "busy", "quiet"
MOST_WAITING = 2
# Kind and seconds on two cores; the longest start first. What is missing here WAITS for a few seconds.
STAGES = {
    "breaker_envoy": (QUIET, 165), "cli/demo": (QUIET, 30), "rollouts": (QUIET, 15), "latency": (QUIET, 6),
    "long": (BUSY, 46), "envoy": (BUSY, 120), "unit-core": (BUSY, 40), "scale": (BUSY, 15), "wasm": (BUSY, 15),
    "stats/simulations": (BUSY, 15), "cli/analysis": (BUSY, 15), "cli/calibration": (BUSY, 40), "corpora": (BUSY, 10), "core": (BUSY, 10), "unit-analysis": (BUSY, 10),
    "prometheus_envoy": (WAITS, 72), "argocd": (WAITS, 51), "cli/pipeline": (WAITS, 150), "cli/mlflow": (WAITS, 140),
    "operations": (WAITS, 16), "bodies": (WAITS, 16), "istio": (WAITS, 15), "istio_envoy": (WAITS, 12),
    "store_envoy": (WAITS, 60), "readme": (WAITS, 60), "cli/store": (WAITS, 40), "store/page": (WAITS, 90), "package": (WAITS, 10), "cli/run": (WAITS, 45), "endings": (WAITS, 30),
    "mesh/changes": (WAITS, 120), "mesh/envoy_gateway": (WAITS, 100), "mesh/outages": (WAITS, 90),
    "mesh/split": (WAITS, 60), "mesh/advance": (WAITS, 120), "mesh/otlp": (WAITS, 20),
}


def clock(seconds):
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


class Failed(Exception):
    """A stage failed. The message is ready to print."""


class Stage:
    """A command with its log, its time and its processor time."""

    def __init__(self, name, command, cwd=ROOT, env=None, on_line=None, limit=LIMIT):
        self.name, self.command, self.cwd, self.on_line, self.limit = name, command, cwd, on_line, limit
        self.env = dict(os.environ, **(env or {}))
        self.kind, self.hint = STAGES.get(name, (WAITS, 5))
        self.log = LOGS / (re.sub(r"[^\w.-]+", "-", name) + ".log")
        self.process = None

    def start(self):
        self.began = time.monotonic()
        out = open(self.log, "wb")
        # A session of its own: whatever the stage starts can be stopped with it, and Ctrl-C reaches only the runner.
        self.process = subprocess.Popen(
            [str(word) for word in self.command], cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.on_line else out, stderr=out, start_new_session=True)
        out.close()
        if self.on_line:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.on_line(line)

    def seconds(self):
        return time.monotonic() - self.began

    def poll(self):
        """The exit code, or None while the stage runs."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.took, self.cpu = self.seconds(), usage.ru_utime + usage.ru_stime
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode

    def stop(self):
        """Ends the stage and everything in its session."""
        for kill in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, kill)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and self.process.returncode is None:
                self.poll()
                time.sleep(0.05)

    def text(self):
        return self.log.read_text(errors="replace")


class Progress:
    """The numbered lines, one per finished stage."""

    def __init__(self):
        self.began, self.done, self.total = time.monotonic(), 0, 0
        self.spoke = self.began

    def say(self, text):
        self.spoke = time.monotonic()
        print(text, flush=True)

    def line(self, text):
        self.done += 1
        width = len(str(self.total))
        self.say(f"[{self.done:>{width}}/{self.total}] {clock(time.monotonic() - self.began)} {text}")

    def heartbeat(self, running):
        if time.monotonic() - self.spoke >= HEARTBEAT:
            names = ", ".join(f"{stage.name} ({stage.seconds():.0f} s)" for stage in running)
            self.say(f"        {clock(time.monotonic() - self.began)} running: {names}")


def run(stages, may_start, progress, finished):
    """Runs all stages; `finished(stage, why)` gets each one, `why` being None if it passed."""
    # Stages that need the machine for themselves come last: they would wait for the others anyway.
    waiting, running = sorted(stages, key=lambda stage: (stage.kind == QUIET, -stage.hint)), []
    try:
        while waiting or running:
            for stage in list(waiting):
                if may_start(stage, running):
                    waiting.remove(stage)
                    running.append(stage)
                    stage.start()
            for stage in list(running):
                code = stage.poll()
                if code is None and stage.seconds() > stage.limit:
                    stage.stop()
                    stage.took, stage.cpu = stage.seconds(), 0
                    running.remove(stage)
                    finished(stage, f"did not end within {stage.limit} s and was stopped")
                elif code is not None:
                    running.remove(stage)
                    ended = f"was ended by signal {-code}" if code < 0 else f"exit code {code}"
                    finished(stage, None if code == 0 else ended)
            progress.heartbeat(running)
            time.sleep(0.05)
    finally:
        for stage in running:
            stage.stop()


def beside(stage, running):
    """Whether a stage may start while these run."""
    kinds = collections.Counter(other.kind for other in running)
    if stage.kind == QUIET or kinds[QUIET]:
        return not running
    return kinds[stage.kind] < (MOST_WAITING if stage.kind == WAITS else 1)


class Cargo:
    """The messages of `cargo test --no-run`: the test binaries, and the command."""

    def __init__(self):
        self.binaries, self.command = [], None

    def line(self, line):
        try:
            message = json.loads(line)
        except ValueError:
            return
        if message.get("reason") != "compiler-artifact" or not message.get("executable"):
            return
        target, executable = message["target"], message["executable"]
        package = pathlib.Path(message["manifest_path"]).parent
        if message["profile"]["test"]:
            self.binaries.append((package, target["name"], target["kind"], executable))
        elif target["name"] == "sidetrack":
            self.command = executable


def prepare(progress, mesh):
    """Tools, test binaries and modules, all at once. Returns the messages of cargo."""
    cargo = Cargo()
    # Nothing else works without the target, and it is quick.
    subprocess.run(["scripts/setup.sh", "rust"], cwd=ROOT, check=True)
    compile_tests = ["cargo", "test", "--no-run", "--message-format=json-render-diagnostics"]
    stages = [
        # Without a build cache, Go needs 20 minutes beside the other compilations.
        Stage("tools", ["scripts/setup.sh", "tests", "mesh" if mesh else "mlflow"], limit=3600 if mesh else LIMIT),
        Stage("test binaries", compile_tests, on_line=cargo.line, limit=max(LIMIT, 2400)),
        Stage("modules", ["sh", "-c", "scripts/build-wasm.sh && scripts/build-wasm.sh crashing"]),
    ]
    progress.total = len(stages)
    failures = []

    def finished(stage, why):
        progress.line(f"{stage.name} {why or 'ready'} ({stage.took:.0f} s)")
        if why:
            failures.append(stage)
        elif stage.name == "tools":
            # What was fetched, and what a test will miss.
            print(stage.text(), end="", flush=True)

    run(stages, lambda *_: True, progress, finished)
    for stage in failures:
        print(f"\n---- {stage.name}\n{stage.text()}")
    if failures:
        raise Failed("test: error: not everything could be prepared, see above")
    return cargo


def tests_of(executable, package):
    """The names of a binary's tests."""
    listed = subprocess.run([executable, "--list", "--format=terse"], cwd=package, check=True, capture_output=True,
                            text=True, timeout=60)
    return [line[: -len(": test")] for line in listed.stdout.splitlines() if line.endswith(": test")]


def stages_of(cargo, mesh):
    modules = {
        "SIDETRACK_CLI": cargo.command,
        "SIDETRACK_WASM": ROOT / "dist/sidetrack.wasm",
        "SIDETRACK_CRASHING_WASM": ROOT / "dist/sidetrack-crashing.wasm",
    }
    # What the caller wants tested stays.
    given = {name: str(path) for name, path in modules.items() if not os.environ.get(name)}
    stages = []
    for package, name, kinds, executable in cargo.binaries:
        if ("test" in kinds and name == MESH) != mesh:
            continue
        env = dict(given, CARGO_MANIFEST_DIR=str(package), CARGO=os.environ.get("CARGO", "cargo"))
        tests = tests_of(executable, package)
        folder = "core" if package == ROOT else package.name
        if "test" not in kinds:
            if tests:
                kind = "" if "lib" in kinds or "cdylib" in kinds else "-" + kinds[0]
                stages.append(Stage(f"unit-{folder}{kind}", [executable], package, env))
        elif name in SPLIT:
            by_module = collections.defaultdict(list)
            for test in tests:
                by_module[test.split("::")[0]].append(test)
            for module, names in by_module.items():
                stage = f"mesh/{module}" if name == MESH else module
                stages.append(Stage(stage, [executable, "--exact", *names], package, env))
        else:
            # Names and logs are unique: `lab/envoy` is a binary, `envoy` a module of the binary `filter`.
            stages.append(Stage(name if folder in ("core", "tests") else f"{folder}/{name}", [executable], package, env))
    if not mesh:
        stages.append(Stage("doc", ["cargo", "test", "--doc"]))
    twice = [name for name, count in collections.Counter(stage.name for stage in stages).items() if count > 1]
    if twice:
        raise Failed(f"test: error: two stages have the same name, and so the same log: {', '.join(twice)}")
    return stages


def main(wanted):
    LOGS.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    mesh = "--mesh" in wanted
    wanted = [word for word in wanted if word != "--mesh"]
    cargo = prepare(progress, mesh)
    stages = stages_of(cargo, mesh)
    if wanted == ["--list"]:
        print("\n".join(stage.name for stage in stages))
        return 0
    unknown = set(wanted) - {stage.name for stage in stages}
    if unknown:
        raise Failed(f"test: error: unknown stage: {', '.join(sorted(unknown))}; see scripts/test.py --list")
    stages = [stage for stage in stages if not wanted or stage.name in wanted]
    progress.total += len(stages)
    passed, ignored, failures = 0, 0, []

    def finished(stage, why):
        nonlocal passed, ignored
        results = [line for line in stage.text().splitlines() if line.startswith("test result: ")]
        if not why and not results:
            why = "ended without a test result"
        progress.line(f"{stage.name} {why or 'ok'} ({stage.took:.0f} s, {stage.cpu:.0f} s of processor time)")
        if why:
            failures.append(stage)
            print(f"---- output of {stage.name}\n{stage.text()}---- end of {stage.name}", flush=True)
            return
        for result in results:
            print(f"        {result}", flush=True)
            passed += int(re.search(r"(\d+) passed", result).group(1))
            ignored += int(re.search(r"(\d+) ignored", result).group(1))

    run(stages, beside, progress, finished)
    took = clock(time.monotonic() - progress.began)
    if failures:
        raise Failed(f"\ntest: FAILED after {took}: {', '.join(stage.name for stage in failures)}; "
                     f"the logs are in {LOGS}")
    print(f"\ntest: {passed} tests passed, {ignored} ignored, {len(stages)} stages, {took} in all")
    return 0


if __name__ == "__main__":
    # CI and make end a run with SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failure:
        print(failure, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ntest: interrupted", flush=True)
        sys.exit(130)
