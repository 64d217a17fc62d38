"""Evaluates experiments with OpenFeature's SDK for Python: evaluate.py URL USERS; prints JSON as evaluate.mjs does."""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

url, users = sys.argv[1], int(sys.argv[2])
api.set_provider(OFREPProvider(url))
client = api.get_client()


def details(found):
    return {
        "value": found.value,
        "variant": found.variant,
        "reason": found.reason,
        "error": found.error_code,
        "trial": found.flag_metadata.get("trial"),
    }


def ask(flag, user):
    return details(client.get_string_details(flag, "default", EvaluationContext(user, {"country": "de"})))


result = {
    "users": [ask("forecast", f"user-{number}")["value"] for number in range(users)],
    "one": ask("forecast", "user-1"),
    "off": ask("off", "user-1"),
    "unknown": ask("none", "user-1"),
    "no_key": ask("forecast", None),
    "long_key": ask("forecast", "u" * 600),
    "type": details(client.get_boolean_details("forecast", True, EvaluationContext("user-1"))),
}
json.dump(result, sys.stdout)
