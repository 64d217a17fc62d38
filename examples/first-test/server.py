"""A model server: python3 server.py PORT SECONDS_OF_DELAY NAME. It answers POST /invocations as MLflow does."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, DELAY, NAME = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body in one packet: a second one would wait for the client's acknowledgment.

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(DELAY)
        body = json.dumps({"predictions": [NAME]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128  # The default, 5, refuses connections when many come at once.
ThreadingHTTPServer(("127.0.0.1", PORT), Model).serve_forever()
