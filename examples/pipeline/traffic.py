"""Sends images of digits through proxies until it is stopped, and the outcomes to the experiment store.

    traffic.py STORE PROXY…

Each user sends two requests. The request id, which the proxies log, joins an outcome to its exposure: whether the prediction
was correct. A request that fails was not.
"""

import http.client
import json
import random
import sys
import threading
import time
import uuid
from urllib.parse import urlsplit

from train import halves

THREADS = 3
# So many rows go to the store at once.
ROWS = 100
# Users that a thread sends in a second, at most.
RATE = 40


def post(connection, path, body, kind, headers):
    """Returns the status and the body of the answer; None if the server is away."""
    try:
        connection.request("POST", path, body, {"content-type": kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        connection.close()
        return None


def send(first, store, proxies):
    """Sends users first, first + THREADS, and so on."""
    _, _, images, labels = halves()
    store = http.client.HTTPConnection(store, timeout=60)
    proxies = [http.client.HTTPConnection(proxy, timeout=60) for proxy in proxies]
    # Another run has other users.
    draw = random.Random()
    user, rows, due = first, [], time.monotonic()
    while True:
        for proxy in draw.sample(proxies, 2) if len(proxies) > 1 else proxies * 2:
            image = draw.randrange(len(images))
            request = str(uuid.UUID(int=draw.getrandbits(128), version=4))
            body = json.dumps({"user_id": f"user-{user}", "inputs": [images[image].tolist()]})
            answer = post(proxy, "/invocations", body, "application/json", {"x-request-id": request})
            if answer is None:
                time.sleep(0.2)
                continue
            is_correct = answer[0] == 200 and json.loads(answer[1])["predictions"][0] == labels[image]
            rows.append(json.dumps({"request_id": request, "correct": int(is_correct)}))
        user += THREADS
        # Rows that the store did not take are sent again: repeats change nothing.
        if len(rows) >= ROWS:
            answer = post(store, "/v1/outcomes", "\n".join(rows), "application/x-ndjson", {})
            if answer is not None and answer[0] == 200:
                rows = []
        due = max(due + 1 / RATE, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    servers = [urlsplit(url).netloc for url in sys.argv[1:]]
    for first in range(THREADS):
        threading.Thread(target=send, args=(first, servers[0], servers[1:]), daemon=True).start()
    threading.Event().wait()
