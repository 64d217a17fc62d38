"""Sends images of digits to the scoring server, with a user id in the body, and writes whether the predictions were correct.

    traffic.py URL USERS OUTCOMES.csv

Each user sends one to three requests. The request id, which Envoy logs, joins an outcome to its exposure.
"""

import csv
import http.client
import json
import random
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from train import halves

THREADS = 4


def send(address, users, images, labels):
    """Returns the outcomes of these users: (request id, 1 if the prediction was correct, else 0)."""
    connection = http.client.HTTPConnection(address, timeout=60)
    outcomes = []
    for user in users:
        draw = random.Random(user)
        for _ in range(draw.randint(1, 3)):
            image = draw.randrange(len(images))
            request = str(uuid.UUID(int=draw.getrandbits(128), version=4))
            body = json.dumps({"user_id": f"user-{user}", "inputs": [images[image].tolist()]})
            headers = {"content-type": "application/json", "x-request-id": request}
            connection.request("POST", "/invocations", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise SystemExit(f"user {user}: {answer.status} {text[:300]}")
            outcomes.append((request, int(json.loads(text)["predictions"][0] == labels[image])))
    return outcomes


def main():
    url, users, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    _, _, images, labels = halves()
    shares = [range(first, users, THREADS) for first in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        shares = list(pool.map(lambda share: send(urlsplit(url).netloc, share, images, labels), shares))
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["request_id", "correct"])
        for outcomes in shares:
            table.writerows(outcomes)
    print(f"{users} users sent {sum(map(len, shares))} requests; the outcomes are in {path}")


if __name__ == "__main__":
    main()
