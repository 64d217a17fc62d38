#!/usr/bin/env python3
"""Parses the queries of a file, a JSON list of [dialect, SQL], with sqlglot. Prints the columns of each result as JSON."""

import json
import pathlib
import sys

import sqlglot

found = []
for dialect, sql in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    (statement,) = sqlglot.parse(sql, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    # Unknown syntax becomes a command, which says nothing.
    assert not isinstance(statement, sqlglot.exp.Command), sql
    found.append(statement.find(sqlglot.exp.Select).named_selects if isinstance(statement, sqlglot.exp.Create)
                 else statement.named_selects)
print(json.dumps(found))
