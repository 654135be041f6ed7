"""A reader for parsers_client.py: Python's json. A body in base64 to a line, what was read to a line.

A value is tagged: ["null"], ["bool", b], ["num", the double's bytes in hex], ["str", base64], ["arr", [...]], or
["obj", {base64 of a key: value}]. What can't be read is ["error"].

With the argument `form` a line is a form or a query, and told are all values of each name, all in base64.
"""

import base64
import json
import struct
import sys
import urllib.parse

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


def form(given, separator="&"):
    read, given = {}, given.decode("utf-8", "replace")
    for name, value in urllib.parse.parse_qsl(given, keep_blank_values=True, separator=separator):
        read.setdefault(text(name), []).append(text(value))
    return read


for line in sys.stdin:
    if "form" in sys.argv:
        given = base64.b64decode(line)
        print(json.dumps({"python": form(given), "python by semicolons": form(given.replace(b"&", b";"), ";")}))
        continue
    try:
        read = tagged(json.loads(base64.b64decode(line)))
    except (ValueError, RecursionError):
        read = ["error"]
    print(json.dumps({"python": read}))
