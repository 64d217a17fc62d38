#!/usr/bin/env python3
"""GrowthBook's engine on the first exposures in DuckDB. Prints its results as JSON.

  growthbook.py LOG OUTCOMES QUERY TRIAL BASELINE CANDIDATE WEIGHT

LOG is an access log, OUTCOMES a CSV `unit,converted,basket`, QUERY the SQL of `sidetrack export assignments`, which reads
the table `access_log` and the ids of `people`. WEIGHT is the candidate's share.
"""

import json
import pathlib
import sys

import duckdb
from gbstats.gbstats import process_experiment_results

log, outcomes, query, trial, baseline, candidate, weight = sys.argv[1:]
base = duckdb.connect()
# As text, so that the query must read times and exposures by itself.
base.execute(f"CREATE TABLE access_log AS FROM read_json('{log}', format = 'newline_delimited', "
             "columns = {time: 'VARCHAR', request_id: 'VARCHAR', exposure: 'VARCHAR', experiment: 'VARCHAR', "
             "assigned: 'VARCHAR', served: 'VARCHAR', status: 'INTEGER', duration: 'BIGINT'})")
base.execute(f"CREATE TABLE people AS SELECT unit AS id, converted, basket FROM read_csv('{outcomes}')")
base.execute(f"CREATE VIEW assignments AS {pathlib.Path(query).read_text()}")
# What GrowthBook makes of an assignment query: per unit and metric, then sums by variation. A unit without outcomes counts
# as zero; a unit in several variations leaves the analysis, which a query of first exposures never has.
rows = base.execute("""
  WITH units AS (
    SELECT user_id, MAX(variation_id) AS variation, COUNT(DISTINCT variation_id) AS variations
    FROM assignments WHERE experiment_id = ? GROUP BY user_id
  ),
  values_of AS (SELECT id, SUM(converted) AS converted, SUM(basket) AS basket FROM people GROUP BY id)
  SELECT variation, COUNT(*) AS users,
    SUM(COALESCE(converted, 0)), SUM(COALESCE(basket, 0)), SUM(COALESCE(basket, 0) * COALESCE(basket, 0)), MAX(variations)
  FROM units LEFT JOIN values_of ON id = user_id GROUP BY variation ORDER BY variation
""", [trial]).fetchall()
assert all(row[5] == 1 for row in rows), rows
found = [{
    "dimension": "", "variation": variation, "users": users, "count": users,
    "m0_id": "converted", "m0_count": users, "m0_main_sum": converted, "m0_main_sum_squares": converted,
    "m1_id": "basket", "m1_count": users, "m1_main_sum": basket, "m1_main_sum_squares": squares,
} for variation, users, converted, basket, squares, _ in rows]
analysis = {
    "var_names": [baseline, candidate], "var_ids": [baseline, candidate],
    "weights": [1 - float(weight), float(weight)], "stats_engine": "frequentist",
}
data = {
    "metrics": {
        "converted": {"id": "converted", "name": "converted", "statistic_type": "mean", "main_metric_type": "binomial"},
        "basket": {"id": "basket", "name": "basket", "statistic_type": "mean", "main_metric_type": "count"},
    },
    "analyses": [analysis, {**analysis, "difference_type": "absolute"}],
    "query_results": [{"rows": found, "metrics": ["converted", "basket"]}],
}
result = {"users": {row["variation"]: row["users"] for row in found}}
for metric in process_experiment_results(data):
    relative, absolute = (one["dimensions"][0] for one in metric["analyses"])
    result["srm"] = relative["srm"]
    result[metric["metric"]] = {
        "lift": relative["variations"][1]["expected"],
        "difference": absolute["variations"][1]["expected"],
        "p_value": absolute["variations"][1]["pValue"],
        "ci": list(absolute["variations"][1]["ci"]),
    }
print(json.dumps(result))
