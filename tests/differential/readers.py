"""What CPython's json module finds in bodies: the counterpart of readers.js.

usage: readers.py PROFILES FRAMES

PROFILES is a JSON list of what is looked for, each a node `[name or null, {key: node}]`, with `*` for the elements
of an array and `max*tokens` for any such key but those of inputs. The file FRAMES is one frame after another: a byte
for the profile, four for the length (little endian), then the body. Prints a line of JSON for each frame:
`[[name, value], ...]` with containers emptied, or an error as a string.
"""

import json
import struct
import sys


def is_bound(key):
    folded = key.partition("\0")[0].casefold()
    ends = folded.startswith("max") and folded.endswith("tokens")
    return ends and "input" not in folded and "prompt" not in folded


def find(value, node, found):
    name, children = node
    if name is not None:
        found.append([name, [] if isinstance(value, list) else {} if isinstance(value, dict) else value])
    if isinstance(value, dict):
        for key, member in value.items():
            child = children.get("max*tokens" if key not in children and is_bound(key) else key)
            if child and key != "*":
                find(member, child, found)
    elif isinstance(value, list) and "*" in children:
        for element in value:
            find(element, children["*"], found)


def read(body, profile):
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    found = []
    find(value, profile, found)
    return found


def main():
    profiles = json.loads(sys.argv[1])
    with open(sys.argv[2], "rb") as file:
        frames = file.read()
    at = 0
    lines = []
    while at < len(frames):
        profile, length = struct.unpack_from("<BI", frames, at)
        at += 5
        lines.append(json.dumps(read(frames[at : at + length], profiles[profile])))
        at += length
    sys.stdout.write("\n".join(lines))


main()
