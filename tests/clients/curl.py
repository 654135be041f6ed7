"""Runs curl, and reads what it says."""

import json
import subprocess
from dataclasses import dataclass

from harness import PATIENCE

# After each transfer, on a line of its own: what curl knows of it.
TOLD = "%{stderr}%{json}\\n"


@dataclass
class Got:
    """One transfer: its answer, and how it went."""

    code: int
    headers: dict
    body: bytes
    told: dict
    trace: str = ""

    @property
    def status(self):
        return self.told["http_code"]

    @property
    def version(self):
        return self.told["http_version"]

    @property
    def connects(self):
        return self.told["num_connects"]


class Curl:
    """`curl(*options, url, headers={…})`, in a folder for its files."""

    def __init__(self, place):
        self.place = place

    def __call__(self, *options, headers=None, data=None):
        return self.several([], *options, headers=headers, data=data)[0]

    def several(self, urls, *options, headers=None, data=None):
        """Several transfers by one curl."""
        command = self.command(*options, *urls, headers=headers)
        ended = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE + 5)
        return self.read(ended.returncode, ended.stdout, ended.stderr)

    def command(self, *options, headers=None):
        """The command line: `start` it yourself where its input is to come bit by bit, then `read`."""
        head = self.place / "head.txt"
        named = [part for name, value in (headers or {}).items() for part in ("--header", f"{name}: {value}")]
        base = ["curl", "--silent", "--verbose", "--max-time", str(PATIENCE), "--dump-header", head, "--noproxy", "*"]
        return [*base, "--write-out", TOLD, *named, *options]

    def read(self, code, out, err):
        trace = err.decode(errors="replace")
        told = [json.loads(line) for line in trace.splitlines() if line.startswith('{"')]
        # The last head of each transfer: before it there may be a 100 (Continue).
        heads = [fields(head) for head in (self.place / "head.txt").read_text().split("\n\n") if head.strip()]
        heads = [head for head in heads if head[":status"] != "100"]
        heads += [{}] * (len(told) - len(heads))
        assert told, trace
        return [Got(code, head, out if len(told) == 1 else b"", one, trace) for head, one in zip(heads, told)]


def fields(head):
    status, *lines = head.strip().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {":status": status.split()[1], **{name.lower(): value.strip() for name, value in pairs}}
