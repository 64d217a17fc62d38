"""Writes the log of an experiment with all that a query must get right: three variants, two phases, units in both, heavy
users, repeats, failures and requests that were aborted, an open breaker, lines of another experiment, and outcomes by
request and by unit with late, early and repeated rows.

    story.py FOLDER [UNITS [VISITS]]

VISITS: how many times as many requests each unit makes (1 if it is not given).
"""

import csv
import datetime
import hashlib
import json
import math
import pathlib
import random
import sys

NAME, SALT = "story", "2026-11"
BASELINE, CANDIDATES = "plain", ["fancy", "other"]
WIDTH = {"fancy": 400_000, "other": 300_000}
DAY = 86_400_000
START = 1_795_424_400_000  # 2026-11-23T09:00:00Z
# The weights, and since which day.
PHASES = [(0, {"fancy": 200_000, "other": 100_000}), (2, {"fancy": 300_000, "other": 300_000})]
EXPERIMENT = {
    "name": NAME,
    "salt": SALT,
    "unit": [{"header": "x-user-id"}],
    "baseline": BASELINE,
    "variants": [
        {"name": BASELINE},
        {"name": "fancy", "weight": 30, "reserve": 40},
        {"name": "other", "weight": 30},
    ],
}


def sha256(*parts):
    return hashlib.sha256("\0".join(parts).encode()).digest()


def rfc3339(ms):
    time = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def assigned(bucket, weights):
    start = 0
    for name in CANDIDATES:
        if start <= bucket < start + weights[name]:
            return name
        start += WIDTH[name]
    return BASELINE


def main():
    folder = pathlib.Path(sys.argv[1])
    units = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    visits = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    dice = random.Random(7)
    trial = sha256("trial1", NAME, SALT).hex()[:8]
    lines, labels, sales = [], [], []
    for user in range(units):
        name = f"user-{user}"
        bucket = int.from_bytes(sha256("arm1", SALT, name)[:8], "big") * 1_000_000 >> 64
        digest = sha256("exposure1", SALT, name)[:16].hex()
        joined = dice.random() * 4 * DAY
        quality = dice.gauss(0, 1)
        for visit in range(min(visits * (1 + int(dice.paretovariate(1.5))), 200)):
            begun = joined if visit == 0 else joined + dice.random() * (4.5 * DAY - joined)
            time = int(START + begun)
            weights = [weights for since, weights in PHASES if time >= START + since * DAY][-1]
            variant = assigned(bucket, weights)
            is_open = variant == "fancy" and 1.2 * DAY < begun < 1.25 * DAY
            served = BASELINE if is_open else variant
            mean = 4.4 + 0.1 * (served == "fancy") + 0.2 * quality
            latency = int(math.exp(dice.gauss(mean, 0.6)))
            if dice.random() < 0.01:
                latency += dice.randrange(1000, 90_000)
            chance = dice.random()
            status, flags = next(
                (status, flags)
                for limit, status, flags in [
                    (0.010, 503, "UF,URX"),
                    (0.020, 404, "-"),
                    (0.025, 0, "DC"),
                    (0.028, 200, "UC"),
                    (0.029, 408, "SI"),
                    (1.0, 200, "-"),
                ]
                if chance < limit
            )
            request = f"{dice.getrandbits(128):032x}" if user % 2 else f"r-{user}-{visit}"
            text = ",".join(f"{name}={weights[name]}/{WIDTH[name]}" for name in CANDIDATES)
            reason = "breaker_open" if is_open else "hash"
            line = {
                "time": rfc3339(time),
                "request_id": request,
                "experiment": NAME,
                "assigned": variant,
                "served": served,
                "status": status,
                "flags": flags,
                "duration": latency,
                "rescued": "true" if dice.random() < 0.002 else "false",
                "exposure": f"trial={trial} config=abcdef01 weights={text} reason={reason} "
                f"bucket={bucket} unit={digest}",
            }
            lines.append(line)
            if dice.random() < 0.003:
                lines.append(dict(line))
            if dice.random() < 0.9:
                right = dice.random() < 0.8 + 0.03 * (served == "fancy")
                score = round(dice.gauss(0.1 * (served == "fancy"), 1.2), 4)
                labels.append({"request_id": request, "correct": int(right), "score": score})
            if dice.random() < 0.2:
                later = time + dice.randrange(-2000, DAY)
                value = round(math.exp(dice.gauss(2 + 0.1 * (served == "fancy"), 1.3)), 2)
                sale = {"unit": name, "time": rfc3339(later), "revenue": value, "bought": 1}
                sales += [sale] * (2 if dice.random() < 0.002 else 1)
        if dice.random() < 0.01:
            lines.append({**lines[-1], "experiment": "another"})
        if dice.random() < 0.005:
            forced = lines[-1]["exposure"].replace("reason=hash", "reason=override")
            lines.append({**lines[-1], "request_id": f"forced-{user}", "exposure": forced})
    for number in range(20):
        labels.append({"request_id": f"unknown-{number}", "correct": 1, "score": 0.0})
        sales.append({"unit": f"stranger-{number}", "time": rfc3339(START), "revenue": 1.0, "bought": 1})
    dice.shuffle(lines)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps({"experiments": [EXPERIMENT]}))
    (folder / "access.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for file, rows in [("labels.csv", labels), ("sales.csv", sales)]:
        with open(folder / file, "w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


main()
