#!/usr/bin/env python3
"""Asks the same question in every way that docs/scale.md names, and measures each: files of all formats, an object store,
and the query of `analyze sql` in DuckDB, ClickHouse, PostgreSQL and Spark on two executors. The figures of each must be
those of the JSON lines, to 1e-9, and everything else the same.

    benches/ways.py [--units 200000] [--visits 3] [--ways ndjson,zstd,parquet,otlp,s3,duckdb,clickhouse,postgres,spark]
                    [--outcomes labels.csv|sales.csv]

The data are those of the tests of the query (tests/engines/story.py): three variants, two phases, units in both, repeats,
failures, an open breaker, and outcomes that come early, late and twice.
"""

import argparse
import contextlib
import json
import os
import pathlib
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENGINES = ROOT / "tests/engines/engines.py"
# What is asked of each file of outcomes: the sums, and the metrics.
ASKED = {
    "labels.csv": (["--by", "request_id", "--column", "correct", "--column", "score"],
                   ["--metric", "accuracy", "--guardrail", "score=ratio:increase:0.5"]),
    "sales.csv": (["--by", "unit", "--column", "revenue", "--binary", "bought"], ["--metric", "revenue=mean"]),
}
UPLOAD = """
import boto3, sys
client = boto3.client("s3")
client.create_bucket(Bucket="logs")
client.upload_file(sys.argv[1], "logs", "access.parquet")
"""
FILES = ("ndjson", "zstd", "parquet", "otlp", "s3")
SPARK = "--master local-cluster[2,1,1024] --driver-memory 1g pyspark-shell"


def measured(command, folder, env=None, output=None):
    """Seconds, processor seconds and peak memory in MiB of a command and what it starts, and what it prints."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    begun, before = time.perf_counter(), used()
    process = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=output or subprocess.PIPE,
                               env={**os.environ, **(env or {})}, start_new_session=True)
    peak = 0
    text = b""
    with contextlib.ExitStack() as stack:
        if output is None:
            # A pipe that nobody reads would stop the command.
            stack.enter_context(process.stdout)
            os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            if output is None:
                text += process.stdout.read() or b""
            peak = max(peak, memory(process.pid))
            time.sleep(0.05)
        if output is None:
            text += process.stdout.read() or b""
    if process.returncode not in (0, 1):
        sys.exit(f"ways.py: {command[:4]} failed with status {process.returncode}")
    return time.perf_counter() - begun, used() - before, peak / 2**20, text


def memory(session):
    """The resident memory of all processes of a session, in bytes."""
    total = 0
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                total += int((entry / "statm").read_text().split()[1]) * resource.getpagesize()
    return total


def otlp(log, file):
    """The lines as export requests of a collector's file exporter, a thousand records each."""
    def value(found):
        return {"intValue": str(found)} if isinstance(found, int) else {"stringValue": found}
    with open(log) as lines, open(file, "w") as out:
        records = []
        def write():
            out.write(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}) + "\n")
            records.clear()
        for line in lines:
            fields = json.loads(line)
            records.append({"attributes": [{"key": key, "value": value(it)} for key, it in fields.items()]})
            if len(records) == 1000:
                write()
        if records:
            write()


def files(folder, wanted):
    """Makes the log in these formats."""
    import duckdb
    database = duckdb.connect()
    log = f"read_json('{folder}/access.log', format = 'newline_delimited', columns = {{time: 'VARCHAR', request_id: " \
        "'VARCHAR', experiment: 'VARCHAR', assigned: 'VARCHAR', served: 'VARCHAR', status: 'INTEGER', flags: 'VARCHAR', " \
        "duration: 'INTEGER', rescued: 'VARCHAR', exposure: 'VARCHAR'})"
    if "zstd" in wanted:
        database.execute(f"COPY (FROM {log}) TO '{folder}/access.log.zst' (FORMAT json, COMPRESSION zstd)")
    if "parquet" in wanted or "s3" in wanted:
        database.execute(f"COPY (FROM {log}) TO '{folder}/access.parquet' (FORMAT parquet)")
    if "otlp" in wanted:
        otlp(folder / "access.log", folder / "access.otlp.json")


@contextlib.contextmanager
def object_store(folder):
    """An S3 server with the Parquet file, and the environment of its client."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([ROOT / ".tools/moto/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    env = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
           "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        subprocess.run([ROOT / ".tools/moto/bin/python", "-c", UPLOAD, folder / "access.parquet"], check=True,
                       env={**os.environ, **env})
        yield env
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def postgres():
    """A PostgreSQL server of its own; it refuses to run as root."""
    programs = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sidetrack-pg-"))
    user = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    data = folder / "data"
    subprocess.run([*user, programs / "initdb", "-D", data, "-A", "trust", "-U", "story"], check=True,
                   stdout=subprocess.DEVNULL)
    server = subprocess.Popen([*user, programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
                              stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if (folder / ".s.PGSQL.5432").exists():
                break
            time.sleep(0.1)
        yield folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


def differ(place, one, two):
    """The largest difference of two results; ends the program where they are not the same."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return max((differ(f"{place}.{key}", it, two[key]) for key, it in one.items()), default=0.0)
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return max((differ(f"{place}[{at}]", it, two[at]) for at, it in enumerate(one)), default=0.0)
    if isinstance(one, float) and isinstance(two, float):
        found = abs(one - two) / max(abs(one), 1.0)
        if found <= 1e-9:
            return found
    elif one == two:
        return 0.0
    sys.exit(f"ways.py: {place}: {one} and {two}")


def comparable(first, other):
    """Both without the words, the examples, and the checks that a table cannot carry."""
    missing = {check["name"] for check in other["checks"] if check["state"] == "not_checked"}
    found = []
    for result in (first, other):
        result = json.loads(json.dumps(result))
        result["checks"] = [{key: it for key, it in check.items() if key != "message"}
                            for check in result["checks"] if check["name"] not in missing]
        for key in ("reasons", "lines", "outcomes", "daily"):
            result.pop(key, None)
        found.append(result)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=200_000)
    parser.add_argument("--visits", type=int, default=3, help="how many times as many requests (default: 3)")
    parser.add_argument("--ways", default=",".join([*FILES, "duckdb", "clickhouse", "postgres", "spark"]))
    parser.add_argument("--outcomes", choices=ASKED, default="labels.csv")
    parser.add_argument("--command", default=ROOT / "dist/sidetrack", help="default: dist/sidetrack (make cli)")
    args = parser.parse_args()
    if not pathlib.Path(args.command).exists():
        sys.exit(f"ways.py: {args.command} does not exist; run make cli")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sidetrack-ways-"))
    try:
        measure(args, folder)
    finally:
        shutil.rmtree(folder)


def measure(args, folder):
    ways = args.ways.split(",")
    subprocess.run([sys.executable, "-B", ROOT / "tests/engines/story.py", folder, str(args.units), str(args.visits)],
                   check=True)
    files(folder, ways)
    sums, asked = ASKED[args.outcomes]
    first = None
    with open(folder / "access.log", "rb") as lines:
        count = sum(1 for _ in lines)
    print(f"{count} lines, {args.units} units, {args.outcomes}\n")
    print("| way | seconds | processor | memory | largest difference |\n|---|---|---|---|---|")

    def show(way, parts, result):
        nonlocal first
        first = first or result
        worst = differ("", *comparable(first, result))
        seconds, processor, peak = (sum(part[0] for part in parts), sum(part[1] for part in parts),
                                    max(part[2] for part in parts))
        # What the server of PostgreSQL takes is not that of a command.
        cost = "– | –" if way == "postgres" else f"{processor:.1f} s | {peak:.0f} MiB"
        print(f"| {way} | {seconds:.1f} s | {cost} | {worst:.1g} |", flush=True)

    names = {"ndjson": "access.log", "zstd": "access.log.zst", "parquet": "access.parquet",
             "otlp": "access.otlp.json", "s3": "s3://logs/access.parquet"}
    for way in [way for way in ways if way in FILES]:
        with object_store(folder) if way == "s3" else contextlib.nullcontext({}) as env:
            found = measured([args.command, "analyze", "run", "experiment.json", "--exposures", names[way], "--json",
                              "--outcomes", args.outcomes, *asked], folder, env)
        show(way, [found], json.loads(found[3]))
    for way in [way for way in ways if way not in FILES]:
        query = folder / f"{way}.sql"
        with open(query, "wb") as out:
            subprocess.run([args.command, "analyze", "sql", "experiment.json", "--dialect", way, "--exposures",
                            "exposures", "--outcomes", "outcomes", *sums, *asked], cwd=folder, stdout=out, check=True)
        python = ROOT / ".tools" / ("spark" if way == "spark" else "engines") / "bin/python"
        env = {"PYSPARK_SUBMIT_ARGS": SPARK, "SPARK_LOCAL_IP": "127.0.0.1"}
        with postgres() if way == "postgres" else contextlib.nullcontext(folder) as socket_folder:
            env["PGHOST"] = str(socket_folder)
            with open(folder / "sums.csv", "wb") as out:
                engine = measured([python, "-B", ENGINES, way, query, folder / "access.log", folder / args.outcomes],
                                  folder, env, out)
        ours = measured([args.command, "analyze", "summary", "experiment.json", "--json", "--from", "sums.csv", *asked],
                        folder)
        show(way, [engine, ours], json.loads(ours[3]))


if __name__ == "__main__":
    main()
