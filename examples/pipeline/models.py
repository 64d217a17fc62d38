"""A model server that has all versions of a registered model, and answers with the one in the header x-model-version.

    models.py PORT MODEL

The experiment file that `sidetrack mlflow follow` writes sets the header. Without it, the champion answers.
"""

import functools
import json
import logging
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import numpy

MODEL = sys.argv[2]


@functools.cache
def loaded(version):
    """Returns a version of the model, or the champion; each is loaded once."""
    return mlflow.sklearn.load_model(f"models:/{MODEL}@champion" if version is None else f"models:/{MODEL}/{version}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet.
    wbufsize = -1

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"model": MODEL})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            predictions = loaded(self.headers["x-model-version"]).predict(numpy.array(body["inputs"]))
        except Exception as error:
            self.answer(500, {"error": str(error)})
        else:
            self.answer(200, {"predictions": predictions.tolist()})

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # All versions are there before the first request.
    for version in (None, *(found.version for found in mlflow.MlflowClient().search_model_versions(f"name='{MODEL}'"))):
        loaded(str(version) if version else None)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
