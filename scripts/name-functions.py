#!/usr/bin/env python3
"""Demangles the function names of a wasm module, in place: `sidetrack_filter::host::log` instead of
`_ZN16sidetrack_filter4host3log17h0123456789abcdefE`. Envoy prints these names where a module crashes, and they are a
tenth of the module as the compiler writes them.

  scripts/name-functions.py FILE
"""

import pathlib
import re
import sys

HEADER = 8
FUNCTIONS = 1
ESCAPES = {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$BP$": "*", "$C$": ",", "$LP$": "(", "$RP$": ")", "$SP$": "@",
           "$u20$": " ", "$u27$": "'", "$u5b$": "[", "$u5d$": "]", "$u7b$": "{", "$u7d$": "}", "$u3b$": ";",
           "$u2b$": "+", "$u22$": '"', "..": "::"}


def read_number(data, at):
    """An unsigned LEB128 number and the position behind it."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def write_number(number):
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def sized(data):
    return write_number(len(data)) + data


def demangled(name):
    """Rust's legacy mangling: `_ZN`, parts with their lengths, a hash as the last part, `E`."""
    match = re.match(r"_ZN(.*)E", name)
    if not match:
        return name
    rest, parts = match.group(1), []
    while digits := re.match(r"\d+", rest):
        length, rest = int(digits.group()), rest[digits.end():]
        parts.append(rest[:length])
        rest = rest[length:]
    if rest or len(parts) < 2 or not re.fullmatch(r"h[0-9a-f]{16}", parts[-1]):
        return name
    plain = "::".join(part[1:] if part.startswith("_$") else part for part in parts[:-1])
    for escape, text in ESCAPES.items():
        plain = plain.replace(escape, text)
    return plain


def renamed(section):
    """The name section with other names of functions."""
    out, at = bytearray(), 0
    while at < len(section):
        kind = section[at]
        size, at = read_number(section, at + 1)
        part, at = section[at:at + size], at + size
        if kind == FUNCTIONS:
            count, place = read_number(part, 0)
            names = bytearray(write_number(count))
            for _ in range(count):
                index, place = read_number(part, place)
                length, place = read_number(part, place)
                name, place = part[place:place + length].decode(), place + length
                names += write_number(index) + sized(demangled(name).encode())
            part = bytes(names)
        out += bytes([kind]) + sized(part)
    return bytes(out)


def main():
    path = pathlib.Path(sys.argv[1])
    data = path.read_bytes()
    out, at = bytearray(data[:HEADER]), HEADER
    while at < len(data):
        kind = data[at]
        size, at = read_number(data, at + 1)
        body, at = data[at:at + size], at + size
        if kind == 0:
            length, start = read_number(body, 0)
            if body[start:start + length] == b"name":
                body = sized(b"name") + renamed(body[start + length:])
        out += bytes([kind]) + sized(body)
    path.write_bytes(bytes(out))


if __name__ == "__main__":
    main()
