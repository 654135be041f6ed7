"""A reader for parsers_client.py: Python's json. A body in base64 to a line, what was read to a line.

A value is tagged: ["null"], ["bool", b], ["num", the double's bytes in hex], ["str", base64], ["arr", [...]], or
["obj", {base64 of a key: value}]. What can't be read is ["error"].
"""

import base64
import json
import struct
import sys

sys.setrecursionlimit(3000)


def text(value):
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


def tagged(value):
    if value is None:
        return ["null"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf") if value > 0 else float("-inf")
        return ["num", struct.pack(">d", number).hex()]
    if isinstance(value, str):
        return ["str", text(value)]
    if isinstance(value, list):
        return ["arr", [tagged(one) for one in value]]
    return ["obj", {text(key): tagged(one) for key, one in value.items()}]


for line in sys.stdin:
    try:
        read = tagged(json.loads(base64.b64decode(line)))
    except (ValueError, RecursionError):
        read = ["error"]
    print(json.dumps({"python": read}))
