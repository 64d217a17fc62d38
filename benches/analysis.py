#!/usr/bin/env python3
"""Measures `sidetrack analyze run` beside DuckDB, which does the same aggregation on the same file in the same run.

    benches/analysis.py [--lines 10000000] [--units 1000000] [--threads 2] [--formats ndjson,zstd,parquet] [--repeat 3]
                        [--memory 1GiB]

Both run in turn. Of all runs, the median of the seconds and of the processor seconds is shown.

The exposures are made by DuckDB from a formula, so that each run has the same ones. DuckDB reads only the columns that it
needs, with a given schema, and makes sums, squares and products by variant from sums by unit: what the comparison of means
and ratios needs. It neither checks the split, nor finds repeated requests, nor computes quantiles; sidetrack does.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPERIMENT = {"experiments": [{
    "name": "bench", "unit": [{"header": "x-user-id"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}]}
COLUMNS = {"time": "VARCHAR", "request_id": "VARCHAR", "experiment": "VARCHAR", "unit": "VARCHAR",
           "assigned": "VARCHAR", "status": "INTEGER", "duration": "INTEGER"}

# A line of about 330 bytes, as a rendered proxy writes it: the unit is a digest, the request id a UUID.
LINES = """
SELECT strftime(make_timestamp(1795424400000000 + (range * 86400000000 // {lines})), '%Y-%m-%dT%H:%M:%S.%gZ') AS time,
       substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4) || '-'
           || substr(h, 21, 12) AS request_id,
       'bench' AS experiment, md5(user::VARCHAR) AS unit,
       CASE WHEN user % 2 = 0 THEN 'plain' ELSE 'fancy' END AS assigned,
       CASE WHEN user % 2 = 0 THEN 'plain' ELSE 'fancy' END AS served,
       'hash' AS reason, NULL AS bucket, NULL AS phase,
       CASE WHEN hash(range) % 100 = 0 THEN 503 ELSE 200 END AS status,
       '-' AS flags, (20 + hash(range + 7) % 300)::INTEGER AS duration,
       'POST' AS method, '/v2/models/forecast' AS path
FROM (SELECT range, md5('request' || range) AS h, hash(range * 31) % {units} AS user FROM range({lines}))
"""

SUMS = """
SELECT assigned, count(*) AS units, sum(n) AS requests, sum(n * n) AS n_n, sum(errors) AS errors,
       sum(errors * errors) AS e_e, sum(errors * n) AS e_n, sum(latency) AS latency,
       sum(latency * latency) AS l_l, sum(latency * n) AS l_n
FROM (SELECT unit, assigned, count(*)::DOUBLE AS n, sum(duration)::DOUBLE AS latency,
             (count(*) FILTER (status >= 500))::DOUBLE AS errors
      FROM {table} WHERE experiment = 'bench' GROUP BY ALL)
GROUP BY assigned ORDER BY assigned
"""


def measured(command):
    """Seconds, processor seconds, peak memory in MiB, and the output of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"analysis.py: {command[0]} failed with status {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def middle(runs):
    """The medians of the figures of several runs, and the output of the last one."""
    return (*(statistics.median(run[figure] for run in runs) for figure in range(3)), runs[-1][3])


def duckdb_sums(path, kind, threads):
    """What the child process of DuckDB does."""
    import duckdb
    database = duckdb.connect()
    database.execute(f"SET threads = {threads}")
    schema = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
    table = f"'{path}'" if kind == "parquet" else (
        f"read_json('{path}', format = 'newline_delimited', columns = {{{schema}}})")
    rows = database.execute(SUMS.format(table=table)).fetchall()
    print(json.dumps([[row[0], int(row[1]), int(row[2])] for row in rows]))


def generate(folder, lines, units):
    import duckdb
    database = duckdb.connect()
    query = LINES.format(lines=lines, units=units)
    files = {"ndjson": folder / "access.ndjson", "zstd": folder / "access.ndjson.zst",
             "parquet": folder / "access.parquet"}
    database.execute(f"COPY ({query}) TO '{files['ndjson']}' (FORMAT json)")
    database.execute(f"COPY ({query}) TO '{files['zstd']}' (FORMAT json, COMPRESSION zstd)")
    database.execute(f"COPY ({query}) TO '{files['parquet']}' (FORMAT parquet)")
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2, help="cores for both (default: 2)")
    parser.add_argument("--formats", default="ndjson,zstd,parquet")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each (default: 1)")
    parser.add_argument("--memory", help="the limit of sidetrack's memory for units (default: its own)")
    parser.add_argument("--command", default=ROOT / "dist/sidetrack", help="default: dist/sidetrack (make cli)")
    parser.add_argument("--duckdb", nargs=2, metavar=("FILE", "FORMAT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.duckdb:
        return duckdb_sums(*args.duckdb, args.threads)
    if not pathlib.Path(args.command).exists():
        sys.exit(f"analysis.py: {args.command} does not exist; run make cli")
    cores = sorted(os.sched_getaffinity(0))[:args.threads]
    os.sched_setaffinity(0, cores)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sidetrack-bench-"))
    try:
        (folder / "experiment.json").write_text(json.dumps(EXPERIMENT))
        files = generate(folder, args.lines, args.units)
        print(f"{args.lines} lines, {args.units} units, {len(cores)} cores")
        print(f"{'format':8} {'MB':>6}  {'sidetrack':>33}  {'DuckDB':>33}  {'faster':>6}")
        for kind in args.formats.split(","):
            file = files[kind]
            memory = ["--memory", args.memory] if args.memory else []
            command = [args.command, "analyze", "run", folder / "experiment.json", "--json", *memory, "--exposures", file]
            duckdb = [sys.executable, __file__, "--threads", str(args.threads), "--duckdb", file, kind]
            runs = [(measured(command), measured(duckdb)) for _ in range(args.repeat)]
            ours, theirs = (middle([run[side] for run in runs]) for side in (0, 1))
            found = {it["name"]: [it["units"], it["requests"]] for it in json.loads(ours[3])["variants"]}
            wanted = {name: [units, requests] for name, units, requests in json.loads(theirs[3])}
            if found != wanted:
                sys.exit(f"analysis.py: {kind}: sidetrack counts {found}, DuckDB {wanted}")
            columns = [f"{it[0]:6.2f} s {it[1]:6.2f} s cpu {it[2]:6.0f} MiB" for it in (ours, theirs)]
            size = file.stat().st_size / 1e6
            print(f"{kind:8} {size:6.0f}  {columns[0]:>33}  {columns[1]:>33}  {theirs[0] / ours[0]:5.2f}×", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
