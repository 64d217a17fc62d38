"""Sends the requests of some users, and writes the outcome of each prediction.

  python3 load.py http://127.0.0.1:10000 outcomes.csv [USERS] [REQUESTS_PER_USER]

Outcomes usually come from elsewhere: a click, a label, a purchase. Here, the candidate is right a little more often.
"""

import csv
import json
import random
import sys
import urllib.request

url, path = sys.argv[1], sys.argv[2]
users, each = (int(text) for text in (sys.argv[3:] + ["2000", "3"])[:2])
RIGHT = {"old": 0.80, "new": 0.90}

with open(path, "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["request_id", "accuracy"])
    for n in range(users * each):
        request = urllib.request.Request(f"{url}/invocations", data=b"{}", method="POST")
        request.add_header("x-user-id", f"user-{n % users}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            model = json.load(answer)["predictions"][0]
            # Envoy returns the id by which an outcome joins its request.
            rows.writerow([answer.headers["x-request-id"], int(random.random() < RIGHT[model])])
print(f"{users * each} requests; outcomes are in {path}")
