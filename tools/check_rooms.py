#!/usr/bin/env python3
"""Checks who includes whom: rooms depend downwards only, and the command uses the public headers alone.

Prints each line that breaks a rule and exits 1; prints a count and exits 0 otherwise. Also forbids fused multiply-add
in codecs, which would change the bytes from one processor to the next.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Ground floor first; a room may include itself and what stands in a line below its own.
FLOORS = [
    {"base"},
    {"dtype", "io"},
    {"format", "codec", "device"},
    {"plan"},
    {"flow"},
    {"residency"},
    {"api"},
    {"cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The room that each public header describes: its nouns may be used from there on up.
PUBLIC = {
    "error": "base", "cancel": "base", "progress": "base", "bytes": "base", "access": "base", "version": "base",
    "dtype": "dtype",
    "source": "io", "fetch": "io",
    "nonfinite": "codec", "retype": "codec",
    "tensor": "format", "metadata": "format", "checkpoint": "format",
    "device": "device",
    "components": "plan", "plan": "plan", "recipe": "plan", "rules": "plan", "shaping": "plan", "targets": "plan",
    "convert": "flow", "verify": "flow", "slice": "flow", "load": "flow",
    "disk_map": "residency", "residency": "residency",
    "writer": "api", "mapping": "api", "page_cache": "api", "headrace": "api",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<headrace/(\w+)\.hpp>)')
FUSED = re.compile(r"\b(MulAdd|NegMulAdd|MulSub|NegMulSub|MulAddSub|fmaf?|__builtin_fmaf?|_mm\d*_f(n?m)(add|sub)\w*)\s*\(")


def allowed(room: str, target: str) -> bool:
    return target == room or FLOOR_OF[target] < FLOOR_OF[room]


def problems_of(path: Path) -> list[str]:
    room = path.relative_to(ROOT / "src").parts[0]
    if room not in FLOOR_OF:
        return [f"{path.relative_to(ROOT)}: '{room}' is no room of the house"]
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        if room == "codec" and FUSED.search(line):
            found.append(f"{where}: fused multiply-add in a codec")
        match = INCLUDE.match(line)
        if not match:
            continue
        private, public = match.groups()
        if public:
            if public not in PUBLIC:
                found.append(f"{where}: <headrace/{public}.hpp> belongs to no room")
            elif not allowed(room, PUBLIC[public]):
                found.append(f"{where}: {room} may not use <headrace/{public}.hpp>, a noun of {PUBLIC[public]}")
            continue
        target = private.split("/")[0]
        if target not in FLOOR_OF:
            found.append(f"{where}: '{private}' is in no room")
        elif room == "cli" and target != "cli":
            found.append(f"{where}: the command may use public headers only, not '{private}'")
        elif not allowed(room, target):
            found.append(f"{where}: {room} may not include '{private}'")
    return found


def public_problems(path: Path) -> list[str]:
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r"\s*#\s*include\s+[<\"]([^>\"]+)", line)
        if match and not match[1].startswith("headrace/") and ("/" in match[1] or match[1].endswith(".h")):
            found.append(f"{path.relative_to(ROOT)}:{number}: <{match[1]}> in a public header")
    if path.stem not in PUBLIC:
        found.append(f"{path.relative_to(ROOT)}: belongs to no room")
    lines = len(path.read_text().splitlines())
    if lines > 250:
        found.append(f"{path.relative_to(ROOT)}: {lines} lines, a public header has at most 250")
    return found


def main() -> int:
    sources = sorted(p for p in (ROOT / "src").rglob("*") if p.suffix in {".hpp", ".cpp", ".h"})
    headers = sorted((ROOT / "include/headrace").glob("*.hpp"))
    found = [p for path in sources for p in problems_of(path)] + [p for path in headers for p in public_problems(path)]
    for problem in found:
        print(problem)
    if not found:
        print(f"rooms: {len(sources)} sources and {len(headers)} public headers keep the order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
