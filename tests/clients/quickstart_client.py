"""examples/quickstart as its README tells: each command in it, in order."""

import json
import os
import re
import shutil
import socket
import subprocess

from harness import PATIENCE, ROOT, Checks, folder, is_problem, same

# The commands follow on each other faster than by hand.
WAIT = "until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.05; done"


def main():
    checks = Checks("quickstart")
    with folder() as place:
        shutil.copytree(ROOT / "examples", place / "examples")
        (place / "bin").mkdir()
        (place / "bin" / "portcullis").symlink_to(os.environ["PORTCULLIS"])
        run(checks, place / "examples" / "quickstart", place / "bin")
    checks.end()


def run(checks, place, binaries):
    ports = {"8080": free(), "9000": free()}
    for name in ("README.md", "portcullis.yaml"):
        text = (place / name).read_text()
        for port, by in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{by}").replace(f"http.server {port} ", f"http.server {by} ")
        (place / name).write_text(text)
    with (place / "portcullis.yaml").open("a") as config:
        config.write("\nadmin: { address: 127.0.0.1:0 }\n")

    blocks = re.findall(r"```sh\n(.*?)```", (place / "README.md").read_text(), re.DOTALL)
    script = ["set -eu", "trap 'kill $(jobs -p)' EXIT"]
    for block in blocks:
        script.append(block)
        for started, port in [("http.server", "9000"), ("portcullis serve", "8080")]:
            if started in block:
                script.append(WAIT.format(port=ports[port]))
        script.append("echo; echo ====")
    path = f"{binaries}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=place, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE, text=True,
    )  # fmt: skip
    shown = [part.strip() for part in ended.stdout.split("\n====\n")]

    with checks("each command of the README works"):
        same(ended.returncode, 0, ended.stdout + ended.stderr)
        same(len(shown), len(blocks) + 1, ended.stdout)
    with checks("the cases pass"):
        assert "ok 5 passed, 0 failed" in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    with checks("the answers are those that it tells"):
        answers = shown[3].split("HTTP/1.1 ")[1:]
        same([answer.split()[0] for answer in answers], ["200", "403", "401"])
        same(answers[0].strip().splitlines()[-1], "30 days")
        for answer, reason in zip(answers[1:], ["no_policy", "no_credentials"]):
            is_problem(answer[answer.index("{") :], reason)
    with checks("the record tells of each"):
        records = [json.loads(line) for line in shown[4].splitlines()]
        decisions = [record for record in records if record["kind"] == "decision"]
        same([r["decision"] for r in decisions], ["permit", "deny", "deny"])
        same(len([r for r in records if r["kind"] == "outcome"]), 1)


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    main()
