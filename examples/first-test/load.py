"""Sends the requests of some users, and writes the outcome of each prediction.

  python3 load.py http://127.0.0.1:10000 outcomes.csv [USERS] [REQUESTS_PER_USER]

Outcomes usually come from elsewhere: a click, a label, a purchase. Here, the new model is right a little more often.
"""

import csv
import http.client
import json
import random
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

host, path = urllib.parse.urlsplit(sys.argv[1]).netloc, sys.argv[2]
users, each = (int(text) for text in (sys.argv[3:] + ["2000", "2"][len(sys.argv) - 3 :])[:2])
RIGHT = {"old": 0.80, "new": 0.90}
SENDERS = 8


def send(first):
    """The requests of every eighth user: the request's id, and whether the answer was right."""
    connection, rows = http.client.HTTPConnection(host, timeout=10), []
    for n in range(first, users * each, SENDERS):
        connection.request("POST", "/invocations", b"{}", {"x-user-id": f"user-{n % users}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            model = json.loads(body)["predictions"][0]
            # Envoy returns the id by which an outcome joins its request.
            rows.append([answer.headers["x-request-id"], int(random.random() < RIGHT[model])])
    return rows


with ThreadPoolExecutor(SENDERS) as pool, open(path, "w", newline="") as file:
    rows = [row for part in pool.map(send, range(SENDERS)) for row in part]
    csv.writer(file).writerows([["request_id", "accuracy"], *rows])
print(f"{users * each} requests, {len(rows)} answers; their outcomes are in {path}")
