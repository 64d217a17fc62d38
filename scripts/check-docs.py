#!/usr/bin/env python3
"""Checks the documentation: links and anchors resolve, named tests exist, prose wraps at 100 columns,
and no words that the project avoids.

  scripts/check-docs.py            all Markdown files of the repository

Code blocks, tables and links that are longer than a line are exempt from the width.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 100
# Each has a plain replacement, such as "no users", "report" or "notify"; the second line is British spelling.
AVOIDED = re.compile(
    r"\b(?:nobody|everyone|everybody|somebody|whom|told|tells?|telling|hears?|fares?|dearest|henceforth"
    r"|analysed|analysing|behaviours?|colours?|favours?|honours?|misspelt|(?:random|optim|normal|initial)is(?:e|ed|es|ing))\b",
    re.I,
)


def files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [name for name in listed.split("\0") if name]


def anchors(text):
    """The anchors of the headings, as GitHub makes them."""
    found, inside = set(), False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and (heading := re.match(r"#+ +(.*)", line)):
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            found.add(slug)
    return found


def links(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (ROOT / name).parent / path if path else ROOT / name
            if not goal.exists():
                yield f"{name}:{number}: {target} does not exist"
            elif anchor and anchor not in anchors(goal.read_text()):
                yield f"{name}:{number}: {goal.relative_to(ROOT)} has no heading #{anchor}"


def schema():
    """Words to avoid in the descriptions that editors show."""
    path = "docs/schema/experiment.schema.json"
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        for found in AVOIDED.findall(line):
            yield f'{path}:{number}: "{found}": use a plain verb or noun'


def prose(name, text):
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        if inside or line.startswith("    "):
            continue
        is_table = line.startswith("|")
        is_long_link = line.startswith("![") or " " not in line.strip().lstrip("-* ")
        if len(line) > WIDTH and not is_table and not is_long_link:
            yield f"{name}:{number}: {len(line)} columns; wrap at {WIDTH}"
        for found in AVOIDED.findall(re.sub(r"`[^`]*`", "", line)):
            yield f'{name}:{number}: "{found}": use a plain verb or noun'


def named_tests():
    """Tests that a page names by module and function must exist."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.rs"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    functions = set()
    for name in filter(None, listed.split("\0")):
        functions.update(re.findall(r"\bfn (\w+)", (ROOT / name).read_text()))
    for name in ["docs/known-bugs.md", "SECURITY.md"]:
        for test in re.findall(r"`[\w/]+::(\w+)`", (ROOT / name).read_text()):
            if test not in functions:
                yield f"{name}: there is no test {test}"


def main():
    problems = [*named_tests(), *schema()]
    for name in files():
        text = (ROOT / name).read_text()
        problems += links(name, text)
        problems += prose(name, text)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
