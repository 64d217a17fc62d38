"""Sends the requests of some users, and writes the outcome of each prediction.

  python3 load.py http://127.0.0.1:10000 outcomes.csv [USERS] [REQUESTS_PER_USER]

Outcomes usually come from elsewhere: a click, a label, a purchase. Here, the candidate is right a little more often.
"""

import csv
import http.client
import json
import random
import sys
import urllib.parse

host, path = urllib.parse.urlsplit(sys.argv[1]).netloc, sys.argv[2]
users, each = (int(text) for text in (sys.argv[3:] + ["2000", "3"][len(sys.argv) - 3 :])[:2])
RIGHT = {"old": 0.80, "new": 0.90}

connection = http.client.HTTPConnection(host, timeout=10)
with open(path, "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["request_id", "accuracy"])
    for n in range(users * each):
        connection.request("POST", "/invocations", b"{}", {"x-user-id": f"user-{n % users}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            model = json.loads(body)["predictions"][0]
            # Envoy returns the id by which an outcome joins its request.
            rows.writerow([answer.headers["x-request-id"], int(random.random() < RIGHT[model])])
print(f"{users * each} requests; outcomes are in {path}")
