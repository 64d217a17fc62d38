"""Runs a query of `sidetrack analyze sql` in an engine, over a log and a file of outcomes, and prints its result as CSV.

    engines.py duckdb|clickhouse|spark|postgres QUERY LOG OUTCOMES > sums.csv
    engines.py parse DIALECT QUERY [DIALECT QUERY]...

PostgreSQL: the server's socket is in the folder that PGHOST names.
"""

import csv
import pathlib
import subprocess
import sys
import tempfile

LOG = {
    "time": "text",
    "request_id": "text",
    "experiment": "text",
    "assigned": "text",
    "served": "text",
    "status": "int",
    "flags": "text",
    "duration": "int",
    "rescued": "text",
    "phase": "text",
    "country": "text",
    "exposure": "text",
    "trial": "text",
    "config": "text",
    "plan": "text",
    "weights": "text",
    "reason": "text",
    "bucket": "int",
    "unit": "text",
}
OUTCOMES = {name: "text" for name in ["request_id", "unit", "time", "topic", "tier"]}


def head(outcomes):
    """The columns of the outcomes with their types: keys and times are text, all others numbers."""
    with open(outcomes, newline="") as file:
        return {name: OUTCOMES.get(name, "float") for name in next(csv.reader(file))}


def statements(query):
    return [part for part in query.split(";\n") if part.strip(" \n;")]


def duckdb(query, log, outcomes):
    import duckdb

    def types(columns):
        names = {"text": "VARCHAR", "int": "BIGINT"}
        return {name: names[kind] for name, kind in columns.items()}

    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE TABLE exposures AS SELECT * FROM read_json('{log}', format='newline_delimited', columns={types(LOG)})")
    con.execute(f"CREATE TABLE outcomes AS SELECT * FROM read_csv('{outcomes}')")
    found = con.execute(query)
    yield [column[0] for column in found.description]
    yield from found.fetchall()


def clickhouse(query, log, outcomes):
    from chdb import session

    names = {"text": "Nullable(String)", "int": "Nullable(Int64)", "float": "Nullable(Float64)"}

    def types(columns):
        return ", ".join(f"{name} {names[kind]}" for name, kind in columns.items())

    engine = session.Session()
    for table, file, form, columns in [
        ("exposures", log, "JSONEachRow", LOG),
        ("outcomes", outcomes, "CSVWithNames", head(outcomes)),
    ]:
        source = f"file('{file}', '{form}', '{types(columns)}')"
        engine.query(f"CREATE TABLE {table} ENGINE = Memory AS SELECT * FROM {source}")
    *steps, last = statements(query)
    for step in steps:
        engine.query(step)
    text = str(engine.query(last, "CSVWithNames"))
    for row in csv.reader(text.splitlines()):
        yield ["" if cell == "\\N" else cell for cell in row]


def spark(query, log, outcomes):
    """By the script of the example; PYSPARK_SUBMIT_ARGS says where."""
    script = pathlib.Path(__file__).resolve().parents[2] / "examples/spark/sums.py"
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "sums.sql")
        file.write_text(query)
        run = subprocess.run([sys.executable, script, file, log, outcomes], cwd=folder, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    yield from csv.reader(run.stdout.splitlines())


def postgres(query, log, outcomes):
    names = {"text": "text", "int": "bigint", "float": "double precision"}

    def types(columns):
        return ", ".join(f"{name} {names[kind]}" for name, kind in columns.items())

    script = f"""
        SET TIME ZONE 'UTC';
        CREATE TEMP TABLE lines (line jsonb);
        \\copy lines FROM '{log}' CSV QUOTE e'\\x01' DELIMITER e'\\x02'
        CREATE TEMP TABLE exposures ({types(LOG)});
        INSERT INTO exposures SELECT r.* FROM lines, jsonb_populate_record(NULL::exposures, line) r;
        CREATE TEMP TABLE outcomes ({types(head(outcomes))});
        \\copy outcomes FROM '{outcomes}' CSV HEADER
        ANALYZE exposures; ANALYZE outcomes;
        {query}
    """
    script = "\n".join(line.strip() for line in script.splitlines())
    command = ["psql", "-U", "story", "-d", "postgres", "--csv", "-q", "-v", "ON_ERROR_STOP=1"]
    run = subprocess.run(command, input=script, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    yield from csv.reader(run.stdout.splitlines())


def parse(dialect, query):
    import sqlglot

    found = sqlglot.parse(query, read=dialect)
    if not found or any(isinstance(step, sqlglot.exp.Command) for step in found):
        sys.exit(f"{dialect}: not parsed as a query")


def main():
    if sys.argv[1] == "parse":
        for dialect, query in zip(sys.argv[2::2], sys.argv[3::2]):
            parse(dialect, open(query).read())
        return
    engine = {"duckdb": duckdb, "clickhouse": clickhouse, "spark": spark, "postgres": postgres}
    writer = csv.writer(sys.stdout)
    rows = engine[sys.argv[1]](open(sys.argv[2]).read(), *sys.argv[3:])
    for row in rows:
        writer.writerow(["" if cell is None else cell for cell in row])


main()
