"""Runs the query of `sidetrack analyze sql --dialect spark` and prints the table of sums as CSV.

    spark-submit sums.py QUERY EXPOSURES OUTCOMES > sums.csv

EXPOSURES and OUTCOMES are Parquet, JSON lines or CSV with a header, as files, folders or addresses of an object store.
"""

import csv
import sys
import uuid

from pyspark.sql import SparkSession, functions

COLUMNS = {"time", "request_id", "experiment", "assigned", "served", "status", "flags", "duration", "rescued", "phase",
           "exposure"}


def table(session, name, path):
    if path.endswith((".csv", ".csv.gz")):
        frame = session.read.csv(path, header=True, inferSchema=True)
    elif path.endswith((".json", ".jsonl", ".ndjson", ".log", ".gz")):
        frame = session.read.json(path)
    else:
        frame = session.read.parquet(path)
    if name == "exposures":
        # Keys that no line has.
        for column in COLUMNS - set(frame.columns):
            frame = frame.withColumn(column, functions.lit(None).cast("string"))
    frame.createOrReplaceTempView(name)


def main():
    query, exposures, outcomes = sys.argv[1:]
    session = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    table(session, "exposures", exposures)
    table(session, "outcomes", outcomes)
    with open(query) as file:
        *steps, last = [part for part in file.read().split(";\n") if part.strip()]
    # The steps of the query are tables of their own schema, which exist only meanwhile.
    schema = f"sidetrack_{uuid.uuid4().hex}"
    session.sql(f"CREATE SCHEMA {schema}")
    try:
        session.sql(f"USE {schema}")
        for step in steps:
            session.sql(step)
        found = session.sql(last)
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        for row in found.collect():
            writer.writerow(["" if cell is None else cell for cell in row])
    finally:
        session.sql(f"DROP SCHEMA {schema} CASCADE")


main()
