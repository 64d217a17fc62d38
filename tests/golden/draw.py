#!/usr/bin/env python3
"""The draw, a second time: written from its description, not from the Rust code.

    draw.py            writes draw.json
    draw.py --check    exits 1 when draw.json is not what this script would write

draw(purpose, salt, unit) = the first eight bytes, big-endian, of SHA-256(purpose NUL salt NUL unit)
bucket                    = (draw * 1_000_000) >> 64
"""

import hashlib
import json
import pathlib
import sys

FILE = pathlib.Path(__file__).with_name("draw.json")
PURPOSES = ["arm1", "layer1", "mirror1", "probe1", "exposure1"]
SALTS = ["financial-2026-11", "s", "checkout-models", "Zürich-試験 €", "x" * 255]


def draw(purpose: str, salt: str, unit: bytes) -> int:
    message = purpose.encode() + b"\0" + salt.encode() + b"\0" + unit
    return int.from_bytes(hashlib.sha256(message).digest()[:8], "big")


def bucket(drawn: int) -> int:
    return (drawn * 1_000_000) >> 64


def filler(length: int) -> bytes:
    """Bytes of every value, none of them the same as its neighbour."""
    return bytes((7 * i + 3) % 256 for i in range(length))


def units_for_all() -> list[bytes]:
    return [
        b"0",
        b"4711",
        b"18446744073709551616",
        "Zoë".encode(),
        "Zoe\u0308".encode(),  # looks the same, other bytes
        "用户-42 🦀".encode(),
        b"\xff",
        b"\xc3\x28",  # not UTF-8
        b"\x00",
        b"a\x00b",
        b" a ",
    ]


def units_for_some() -> list[bytes]:
    return [
        b"1",
        b"42",
        b"007",
        b"-1",
        b"A",
        b"a",
        b"\x80",
        b"\x00\x00",
        b"\x00arm1",
        b"b\x00",
        b"\xed\xa0\x80",  # a lone surrogate
        b"550e8400-e29b-41d4-a716-446655440000",
        b"alice@example.com",
        filler(63),
        filler(64),
        filler(65),
        filler(8192),
    ]


def units_at_block_borders(purpose: str, salt: str) -> list[bytes]:
    """Units that make the whole message end around the borders of SHA-256's 64-byte blocks and its padding."""
    before = len(purpose) + len(salt.encode()) + 2
    borders = [n + 64 * block for block in range(6) for n in (55, 56, 63, 64, 65)]
    return [filler(n - before) for n in borders if n > before][:6]


def vectors():
    for purpose in PURPOSES:
        for salt in SALTS:
            units = units_for_all()
            if salt == SALTS[0]:
                units += units_for_some()
            if salt in (SALTS[0], SALTS[4]):
                units += units_at_block_borders(purpose, salt)
            for unit in units:
                drawn = draw(purpose, salt, unit)
                yield {
                    "purpose": purpose,
                    "salt": salt,
                    "unit": unit.hex(),
                    "draw": f"{drawn:016x}",
                    "bucket": bucket(drawn),
                }


def text() -> str:
    lines = [json.dumps(vector, ensure_ascii=False) for vector in vectors()]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if FILE.read_text(encoding="utf-8") == text():
            return 0
        print(f"{FILE.name} is not what draw.py writes", file=sys.stderr)
        return 1
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
