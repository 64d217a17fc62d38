"""Writes the log of an experiment with all that a query must get right: three variants, two phases, units in both, heavy
users, repeats, failures and requests that were aborted, an open breaker, lines of another experiment, and outcomes by
request and by unit with late, early and repeated rows. `topics.csv` and `spend.csv` have columns of text as well, and
rows from before the experiment.

    story.py FOLDER [UNITS [VISITS]] [--plain] [--rollout]

VISITS: how many times as many requests each unit makes (1 if it is not given).
--plain: the log has the units in plain text. --rollout: the weights are those of phases of a rollout.
`typed.log` is the log with a field for each part of the exposure.
"""

import argparse
import csv
import datetime
import hashlib
import json
import math
import pathlib
import random

NAME, SALT = "story", "2026-11"
BASELINE, CANDIDATES = "plain", ["fancy", "other"]
DAY = 86_400_000
START = 1_795_424_400_000  # 2026-11-23T09:00:00Z
# The weights, and since which day.
PHASES = [(0, {"fancy": 200_000, "other": 100_000}), (2, {"fancy": 300_000, "other": 300_000})]
ROLLOUT = ["careful", "wide"]
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


def assigned(bucket, weights, width):
    start = 0
    for name in CANDIDATES:
        if start <= bucket < start + weights[name]:
            return name
        start += width[name]
    return BASELINE


def file(plain, rollout):
    """The experiment file."""
    experiment = json.loads(json.dumps(EXPERIMENT))
    if rollout:
        for variant in experiment["variants"][1:]:
            variant.pop("weight")
            variant.pop("reserve", None)
        phases = [
            {"name": name, "weights": {key: weight / 10_000 for key, weight in weights.items()}}
            for name, (_, weights) in zip(ROLLOUT, PHASES)
        ]
        phases[0]["for"] = "2d"
        experiment["rollout"] = {"start": rfc3339(START)[:19] + "Z", "phases": phases}
    settings = {"settings": {"exposure_unit": "plain"}} if plain else {}
    return {"experiments": [experiment], **settings}


def typed(line):
    """A line with a field for each part of its exposure."""
    text, unit = line["exposure"].split(" unit=")
    parts = dict(part.split("=", 1) for part in text.split(" "))
    return {**{key: value for key, value in line.items() if key != "exposure"}, **parts, "unit": unit}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("units", nargs="?", type=int, default=2000)
    arguments.add_argument("visits", nargs="?", type=int, default=1)
    arguments.add_argument("--plain", action="store_true")
    arguments.add_argument("--rollout", action="store_true")
    given = arguments.parse_args()
    folder, units, visits = given.folder, given.units, given.visits
    width = {"fancy": 300_000 if given.rollout else 400_000, "other": 300_000}
    dice, more = random.Random(7), random.Random(8)
    trial = sha256("trial1", NAME, SALT).hex()[:8]
    lines, labels, sales, topics, spend = [], [], [], [], []
    for user in range(units):
        name = f"user {user}" if given.plain else f"user-{user}"
        bucket = int.from_bytes(sha256("arm1", SALT, name)[:8], "big") * 1_000_000 >> 64
        digest = name if given.plain else sha256("exposure1", SALT, name)[:16].hex()
        # A few countries are large; some users travel, and of some nothing is known.
        country = more.choice(["DE", "FR", "IT", "-", "null", "Österreich", "us", "US"] + [f"c{number}" for number in range(20)])
        past = round(math.exp(more.gauss(2, 1)), 2)
        joined = dice.random() * 4 * DAY
        quality = dice.gauss(0, 1)
        for visit in range(min(visits * (1 + int(dice.paretovariate(1.5))), 200)):
            begun = joined if visit == 0 else joined + dice.random() * (4.5 * DAY - joined)
            time = int(START + begun)
            phase, weights = [
                (name, weights) for name, (since, weights) in zip(ROLLOUT, PHASES) if time >= START + since * DAY
            ][-1]
            variant = assigned(bucket, weights, width)
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
            text = ",".join(f"{name}={weights[name]}/{width[name]}" for name in CANDIDATES)
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
            if given.rollout:
                line["phase"] = phase
            if country != "null":
                line["country"] = country if more.random() < 0.9 else "abroad"
            lines.append(line)
            if dice.random() < 0.003:
                lines.append(dict(line))
            if dice.random() < 0.9:
                right = dice.random() < 0.8 + 0.03 * (served == "fancy")
                score = round(dice.gauss(0.1 * (served == "fancy"), 1.2), 4)
                labels.append({"request_id": request, "correct": int(right), "score": score})
                views = more.randrange(1, 6)
                topic = more.choice(["news", "sports", "", "a, b", "news", "'s"])
                clicks = {"clicks": more.randrange(0, views + 1), "views": views if more.random() < 0.9 else ""}
                topics.append({**labels[-1], **clicks, "topic": topic})
            if dice.random() < 0.2:
                later = time + dice.randrange(-2000, DAY)
                value = round(math.exp(dice.gauss(2 + 0.1 * (served == "fancy"), 1.3)), 2)
                sale = {"unit": name, "time": rfc3339(later), "revenue": value, "bought": 1}
                sales += [sale] * (2 if dice.random() < 0.002 else 1)
                items = more.randrange(1, 5) if more.random() < 0.8 else ""
                tier = more.choice(["gold", "silver", "silver", "-"])
                value = {"revenue": round(value * past, 2), "items": items, "bought": 1}
                spend.append({"unit": name, "time": sale["time"], **value, "past": "", "tier": tier})
        # What was bought before, in a row of its own: of most users, and of a few twice or too late.
        row = {"unit": name, "time": "", "revenue": "", "items": "", "bought": "", "past": past, "tier": ""}
        if more.random() < 0.9:
            before = START - more.randrange(2 * DAY, 30 * DAY)
            late = START + 4 * DAY if more.random() < 0.003 else before
            spend.append({**row, "time": rfc3339(late), "tier": more.choice(["gold", "silver", ""])})
            if more.random() < 0.003:
                spend.append({**row, "time": rfc3339(before + DAY), "past": past + 1})
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
    (folder / "experiment.json").write_text(json.dumps(file(given.plain, given.rollout)))
    for name, write in [("access.log", dict), ("typed.log", typed)]:
        (folder / name).write_text("".join(json.dumps(write(line)) + "\n" for line in lines))
    files = {"labels.csv": labels, "sales.csv": sales, "topics.csv": topics, "spend.csv": spend}
    for name, rows in files.items():
        with open(folder / name, "w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


main()
