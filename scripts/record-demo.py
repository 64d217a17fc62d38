#!/usr/bin/env python3
"""Records a command in a pseudo terminal: an asciinema v2 .cast and an animated SVG.

    scripts/record-demo.py --until WORD --cast FILE --svg FILE -- COMMAND...

The command runs as it does for a person. When its output contains WORD, the recording waits for LINGER seconds, ends the
command with Ctrl-C, and exits with the command's status. Needs only Python's standard library and no network.
"""
import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

LIMIT = 300  # seconds
LINGER = 1.0

# --- recording ---------------------------------------------------------------------------------------------------


def record(command, columns, rows, until):
    """Runs the command; returns its output as [(seconds, text)], its status, and where `until` appeared."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.environ.pop("NO_COLOR", None)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(error, file=sys.stderr)
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    started = time.monotonic()
    deadline = started + LIMIT
    events, pending, seen, interrupted = [], b"", "", None
    while True:
        now = time.monotonic()
        if now > deadline:
            os.kill(pid, signal.SIGTERM)
            sys.exit(f"record-demo: no {until!r} within {LIMIT} s")
        if interrupted is None and until in seen and now - events[-1][0] - started >= LINGER:
            interrupted = len(events)
            os.write(terminal, b"\x03")
        if not select.select([terminal], [], [], 0.05)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # Linux: the other end is closed
            data = b""
        if not data:
            break
        pending += data
        # A character that is cut in two waits for its rest.
        text = pending.decode("utf-8", "ignore") if not incomplete(pending) else ""
        if text:
            pending = b""
            events.append((now - started, text))
            seen = (seen + text)[-20000:]
    _, status = os.waitpid(pid, 0)
    return events, os.waitstatus_to_exitcode(status), interrupted


def incomplete(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def write_cast(path, events, columns, rows, title):
    head = {"version": 2, "width": columns, "height": rows, "title": title,
            "env": {"TERM": "xterm-256color", "SHELL": "/bin/sh"}}
    with open(path, "w", encoding="utf-8") as out:
        out.write(json.dumps(head) + "\n")
        for at, text in events:
            out.write(json.dumps([round(at, 3), "o", text], ensure_ascii=False) + "\n")


# --- terminal ----------------------------------------------------------------------------------------------------

TOKEN = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>]|[\r\n\b\t\a]|[^\x1b\r\n\b\t\a]+|\x1b")


class Terminal:
    """The subset of a terminal that the demo uses. An unknown sequence is an error, not a wrong picture."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.style = self.rest = ""
        self.wrap = True
        self.main = self.blank()
        self.lines, self.at = self.main, [0, 0]

    def blank(self):
        return [self.blank_line() for _ in range(self.rows)]

    def blank_line(self):
        return [(" ", "")] * self.columns

    def feed(self, text):
        # A sequence that is cut in two waits for its rest.
        text = self.rest + text
        cut = re.search(r"\x1b(\[[?0-9;]*)?$", text)
        self.rest, text = (text[cut.start():], text[:cut.start()]) if cut else ("", text)
        for token in TOKEN.finditer(text):
            if token[3]:
                self.sequence(token[1], token[2], token[3])
            elif token[0] == "\r":
                self.at[1] = 0
            elif token[0] == "\n":
                self.line_feed()
            elif token[0][0] == "\x1b" or token[0] in "\a\b\t":
                raise ValueError(f"unknown sequence {token[0]!r}")
            else:
                for char in token[0]:
                    self.put(char)

    def put(self, char):
        if unicodedata.east_asian_width(char) in "WF":
            raise ValueError(f"wide character {char!r}")
        if self.at[1] >= self.columns:
            if not self.wrap:
                return
            self.at[1] = 0
            self.line_feed()
        self.lines[self.at[0]][self.at[1]] = (char, self.style)
        self.at[1] += 1

    def line_feed(self):
        if self.at[0] + 1 < self.rows:
            self.at[0] += 1
        else:
            self.lines.pop(0)
            self.lines.append(self.blank_line())

    def sequence(self, private, numbers, letter):
        numbers = [int(number) for number in numbers.split(";") if number]
        row, column = self.at
        if private and letter in "hl":
            self.mode(numbers, letter == "h")
        elif letter == "m":
            self.select(numbers or [0])
        elif letter == "H":
            self.at = [min((numbers + [1, 1])[0], self.rows) - 1, min((numbers + [1, 1])[1], self.columns) - 1]
        elif letter == "K":
            self.lines[row][column:] = [(" ", "")] * (self.columns - column)
        elif letter == "J" and numbers in ([], [0]):
            self.lines[row][column:] = [(" ", "")] * (self.columns - column)
            for below in range(row + 1, self.rows):
                self.lines[below] = self.blank_line()
        else:
            raise ValueError(f"unknown sequence {private or ''}{numbers}{letter}")

    def mode(self, numbers, on):
        for number in numbers:
            if number == 1049 and on:
                self.saved, self.lines = list(self.at), self.blank()
            elif number == 1049:
                self.lines, self.at = self.main, self.saved
            elif number == 7:
                self.wrap = on
            elif number not in (25, 2004):
                raise ValueError(f"unknown mode {number}")

    def select(self, numbers):
        names = {1: "b", 2: "d", 31: "r", 32: "g", 33: "y", 36: "c"}
        for number in numbers:
            if number == 0:
                self.style = ""
            elif number in names:
                self.style = "".join(sorted(set(self.style) | {names[number]}))
            else:
                raise ValueError(f"unknown color {number}")

    def screen(self):
        return tuple(tuple(line) for line in self.lines)


# --- drawing -----------------------------------------------------------------------------------------------------

CELL, LINE, SIZE = 8.4, 18, 14
MARGIN, BAR = 16, 36
COLORS = {"": "#c9d1d9", "b": "#f0f6fc", "d": "#7d8590", "g": "#3fb950", "r": "#f85149", "y": "#d29922", "c": "#39c5cf"}
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
EIGHTHS = " ▁▂▃▄▅▆▇█"


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def shape(char):
    """Block and line characters are drawn, so that they join in any font: (offset, height) of a rectangle, opacity."""
    if char in EIGHTHS[1:]:
        height = LINE * EIGHTHS.index(char) / 8
        return LINE - height, height, 1
    return {"░": (2, LINE - 4, 0.25), "━": (LINE / 2 - 1, 2, 1), "·": (LINE / 2 - 1, 2, 0.35)}.get(char)


def draw_line(line):
    """One line as SVG, with its top at 0."""
    parts, column = [], 0
    while column < len(line):
        char, style = line[column]
        end = column
        if shape(char):
            while end < len(line) and line[end] == line[column]:
                end += 1
            top, height, opacity = shape(char)
            color = COLORS[style.strip("b") or ("b" if "b" in style else "")]
            fade = f' opacity="{opacity}"' if opacity < 1 else ""
            parts.append(f'<path fill="{color}"{fade} d="M{number(column * CELL)} {number(top)}'
                         f'h{number((end - column) * CELL)}v{number(height)}H{number(column * CELL)}z"/>')
        else:
            while end < len(line) and line[end][1] == style and not shape(line[end][0]):
                # Two blanks end a run, so that the columns stay where they are in any font.
                if line[end][0] == " " and end + 1 < len(line) and line[end + 1][0] == " ":
                    break
                end += 1
            text = "".join(char for char, _ in line[column:end])
            if not text.strip():
                column = max(end, column + 1)
                continue
            skipped = len(text) - len(text.lstrip())
            text = text.strip()
            names = f' class="{" ".join(style)}"' if style else ""
            length = number(len(text) * CELL)
            parts.append(f'<text x="{number((column + skipped) * CELL)}" y="13.5"{names}'
                         f' textLength="{length}">{escape(text)}</text>')
        column = end
    return "".join(parts)


def frames_of(events, columns, rows, shortest):
    """The screens and how long each is shown: screens that are shown for less than `shortest` are left out."""
    terminal, frames = Terminal(columns, rows), []
    for index, (at, text) in enumerate(events):
        terminal.feed(text)
        until = events[index + 1][0] if index + 1 < len(events) else at
        if frames and until - frames[-1][0] < shortest and index + 1 < len(events):
            continue
        screen = terminal.screen()
        if not frames or frames[-1][1] != screen:
            frames.append((at, screen))
    return frames


def write_svg(path, frames, end, columns, rows, title):
    """A strip of frames that an animation moves behind a window. Equal lines are stored once."""
    width, height = columns * CELL + 2 * MARGIN, rows * LINE + BAR + MARGIN
    lines, body = {}, []
    step = rows * LINE
    for index, (_, screen) in enumerate(frames):
        uses = []
        for row, line in enumerate(screen):
            if all(char == " " for char, _ in line):
                continue
            name = lines.setdefault(line, f"l{len(lines)}")
            uses.append(f'<use href="#{name}" y="{index * step + row * LINE}"/>')
        body.append("".join(uses))
    stops = []
    for index, (at, _) in enumerate(frames):
        stops.append(f"{100 * at / end:.2f}%{{transform:translateY(-{index * step}px)}}")
    last = len(frames) - 1
    stops.append(f"100%{{transform:translateY(-{last * step}px)}}")
    classes = "".join(f".{name}{{fill:{color}}}" for name, color in COLORS.items() if name and name != "b")
    dots = "".join(f'<circle cx="{MARGIN + 6 + 18 * index}" cy="18" r="5.5" fill="{color}"/>'
                   for index, color in enumerate(("#ff5f57", "#febc2e", "#28c840")))
    defs = "".join(f'<g id="{name}">{draw_line(line)}</g>' for line, name in lines.items())
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {height}" width="{number(width)}"'
        f' height="{height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<style>text{{font:{SIZE}px {FONT};fill:{COLORS['']};white-space:pre}}"
        f"path{{shape-rendering:crispEdges}}.b{{font-weight:700;fill:{COLORS['b']}}}{classes}"
        f"#s{{transform:translateY(-{last * step}px);animation:s {end:.1f}s steps(1,end) infinite}}@keyframes s{{{''.join(stops)}}}"
        f"@media(prefers-reduced-motion:reduce){{#s{{animation:none}}}}</style>"
        f"<defs>{defs}</defs>"
        f'<rect width="100%" height="100%" rx="10" fill="#0d1117"/>'
        f'<path d="M0 {BAR - 1}h{number(width)}" stroke="#21262d"/>{dots}'
        f'<text x="{number(width / 2)}" y="22.5" text-anchor="middle" class="d">{escape(title)}</text>'
        f'<svg x="{MARGIN}" y="{BAR + 4}" width="{number(columns * CELL)}" height="{step}"><g id="s">{"".join(body)}</g></svg>'
        f"</svg>\n"
    )
    with open(path, "w", encoding="utf-8") as out:
        out.write(svg)
    return len(svg.encode()), len(lines)


# --- command -----------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cast", required=True, help="the asciinema recording to write, or with --replay to read")
    parser.add_argument("--svg", required=True, help="the picture to write")
    parser.add_argument("--title", default="make demo")
    parser.add_argument("--until", default="Ctrl-C", help="the word at which the recording ends")
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rows", type=int, default=38)
    parser.add_argument("--shortest", type=float, default=0.5, help="the shortest time that a frame is shown, in seconds")
    parser.add_argument("--hold", type=float, default=6.0, help="how long the last frame is shown, in seconds")
    parser.add_argument("--replay", action="store_true", help="draw an existing recording")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    columns, rows = options.columns, options.rows
    if options.replay:
        with open(options.cast, encoding="utf-8") as cast:
            head = json.loads(next(cast))
            events = [(at, text) for at, _, text in map(json.loads, cast)]
        columns, rows = head["width"], head["height"]
    else:
        events, status, interrupted = record(options.command, columns, rows, options.until)
        if status != 0:
            sys.exit(f"record-demo: {options.command[0]} ended with status {status}\n{''.join(text for _, text in events[-3:])}")
        events = events[:interrupted]
        write_cast(options.cast, events, columns, rows, options.title)
    frames = frames_of(events, columns, rows, options.shortest)
    end = frames[-1][0] + options.hold
    size, lines = write_svg(options.svg, frames, end, columns, rows, options.title)
    print(f"{options.svg}: {size // 1000} kB, {len(frames)} frames, {lines} lines, {end:.0f} s")


if __name__ == "__main__":
    main()
