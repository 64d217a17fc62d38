#!/usr/bin/env python3
"""Runs the same first exposures in DuckDB and in a PostgreSQL of its own. Prints both results as JSON, in the order of the units.

  engines.py LOG OUTCOMES DUCKDB.sql POSTGRES.sql
"""

import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import duckdb

FIELDS = ["time", "request_id", "exposure", "experiment", "assigned"]
RESULT = "SELECT user_id, CAST(EXTRACT(EPOCH FROM timestamp) * 1000 AS BIGINT), experiment_id, variation_id, weights, variants_seen FROM q"


def duck(log, people, query):
    base = duckdb.connect()
    columns = ", ".join(f"{field}: 'VARCHAR'" for field in FIELDS)
    base.execute(f"CREATE TABLE access_log AS FROM read_json('{log}', format = 'newline_delimited', columns = {{{columns}}})")
    base.execute(f"CREATE TABLE people AS SELECT unit AS id FROM read_csv('{people}')")
    base.execute(f"CREATE VIEW q AS {query}")
    return sorted(list(row) for row in base.execute(RESULT).fetchall())


def programs():
    """Where initdb, pg_ctl and psql are."""
    places = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), os.path.dirname(shutil.which("pg_ctl") or "")]
    for place in places:
        if place and os.path.exists(f"{place}/postgres") and os.path.exists(f"{place}/initdb"):
            return place
    sys.exit("PostgreSQL is missing: run scripts/setup.sh tests")


def postgres(log, people, query):
    place = programs()
    # A server refuses to run as root.
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="sidetrack-postgres-")
    os.chmod(folder, 0o777)
    env = dict(os.environ, LC_ALL="C.UTF-8", PGHOST=folder, PGUSER="sidetrack", PGDATABASE="postgres", PGTZ="Europe/Berlin")

    def run(*command, **more):
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=folder, timeout=120, **more)

    started = False
    try:
        run(f"{place}/initdb", "-D", f"{folder}/data", "-U", "sidetrack", "-A", "trust", "--no-sync", **user)
        run(f"{place}/pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-t", "60",
            "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start", stdin=subprocess.DEVNULL, **user)
        started = True
        columns = ", ".join(f"line->>'{field}' AS {field}" for field in FIELDS)
        # Each line is one field: no separator or quote of CSV is in the log.
        script = f"""
            CREATE TABLE lines (line jsonb);
            \\copy lines FROM '{log}' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
            CREATE TABLE access_log AS SELECT {columns} FROM lines;
            CREATE TABLE outcomes (unit text, converted int, basket float);
            \\copy outcomes FROM '{people}' WITH (FORMAT csv, HEADER)
            CREATE TABLE people AS SELECT unit AS id FROM outcomes;
            CREATE VIEW q AS {query};
        """
        script = "\n".join(line.strip() if line.strip().startswith("\\copy") else line for line in script.splitlines())
        run(shutil.which("psql") or f"{place}/psql", "-v", "ON_ERROR_STOP=1", "-qf", "-", input=script)
        found = run(shutil.which("psql") or f"{place}/psql", "-v", "ON_ERROR_STOP=1", "-qAtc",
                    f"SELECT json_agg(json_build_array(a, b, c, d, e, f)) FROM ({RESULT}) AS t (a, b, c, d, e, f)").stdout
        return sorted(json.loads(found))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stdout}\n{error.stderr}")
    finally:
        if started:
            run(f"{place}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop", **user)
        shutil.rmtree(folder, ignore_errors=True)


log, people, *queries = (os.path.abspath(name) for name in sys.argv[1:])
queries = [pathlib.Path(name).read_text() for name in queries]
print(json.dumps({"duckdb": duck(log, people, queries[0]), "postgres": postgres(log, people, queries[1])}))
