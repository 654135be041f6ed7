#!/usr/bin/env python3
"""Whole requests over loopback: the gateway beside a proxy that checks nothing and beside nginx.

    cargo build --release --example upstream --example bare --example issuer --bin portcullis
    benches/journey.py [--seconds 5] [--rounds 3] [--only bare,nginx,gateway] [--calls get,post]
    benches/journey.py --only buffered,gateway,signed,strict --connections 1,16,64,256 --calls get
    benches/journey.py --only before,gateway --before OTHER/target/release/portcullis

Needs wrk and nginx. Each target has one worker and its own keep-alive connections to one upstream, and is asked
over 64 keep-alive connections. The targets take turns, round by round, so that a machine that others use slows
all alike; the medians of the rounds are printed, the ratio of CPU to nginx, or to the first where that is not asked. CPU is user and system time of the target's process alone,
from /proc, divided by the requests that it answered. Everything runs on loopback and in a temporary folder.

`buffered`, `signed` (with checkpoints each second) and `strict` are the gateway with its audit log kept so, `before` is
another build of it with the same configuration.

The gateway checks an ES256 token (from its cache, after the first request), a policy with path and claims, for
POST also five fields of the body, and writes each decision before it forwards. nginx checks nothing and writes its
access log; bare is hyper alone, which neither checks nor writes.
"""

import argparse
import itertools
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")


def main():
    options = read_options()
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, World(pathlib.Path(folder), options) as world:
        for call, connections in itertools.product(options.calls, options.connections):
            figures = {name: [] for name in options.only}
            for _ in range(options.rounds):
                for name in options.only:
                    figures[name].append(world.measure(name, call, options, connections))
            report(f"{call}, {connections} connections", figures)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=lambda text: list(map(int, text.split(","))), default=[64])
    parser.add_argument("--before", type=pathlib.Path, help="another build's binary")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["bare", "nginx", "gateway"])
    parser.add_argument("--calls", type=lambda text: text.split(","), default=["get", "post"])
    parser.add_argument("--folder", help="where the logs go; a disk, for `strict` to mean anything")
    parser.add_argument("--target", type=pathlib.Path, default=HERE.parent / "target/release")
    return parser.parse_args()


def report(call, figures):
    print(f"\n{call}: {len(next(iter(figures.values())))} rounds, medians")
    print(f"{'target':<10}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'ratio':>10}{'errors':>8}")
    first = next(iter(figures.values()))
    for name, rounds in figures.items():
        middle = {key: statistics.median(f[key] for f in rounds) for key in rounds[0]}
        ratio = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(rounds, figures.get("nginx", first)))
        errors = sum(f["errors"] for f in rounds)
        print(f"{name:<10}{middle['rate']:>12.0f}{middle['p50']:>9.2f}{middle['p99']:>9.2f}"
              f"{middle['cpu']:>9.1f}{ratio:>10.2f}{errors:>8}")


class World:
    """The upstream and the targets, all running; what isn't asked sleeps."""

    def __init__(self, folder, options):
        self.folder, self.target, self.options = folder, options.target, options
        self.processes = []
        self.ports = {}
        self.workers = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        body = '{"model":"gpt-4o-mini","max_tokens":512,"temperature":0.2,"stream":true,"user":"agent-7","messages":' \
            '[{"role":"system","content":"You are a support agent."},{"role":"user","content":"@"}]}'
        (self.folder / "body.json").write_text(body.replace("@", "x" * (1_000 - len(body))))
        subprocess.run([self.target / "examples/issuer", self.folder], check=True)
        self.token = (self.folder / "token").read_text()
        upstream = self.spawn([self.target / "examples/upstream", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.upstream = upstream.stdout.readline().strip()
        for name in self.options.only:
            start = {"bare": self.bare, "nginx": self.nginx}.get(name, self.gateway)
            start(name)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait()

    def spawn(self, command, **more):
        process = subprocess.Popen(command, **more)
        self.processes.append(process)
        return process

    def bare(self, name):
        port = free_port()
        bare = self.spawn([self.target / "examples/bare", f"127.0.0.1:{port}", self.upstream], stdout=subprocess.DEVNULL)
        self.ready(name, port, bare.pid)

    def nginx(self, name):
        port = free_port()
        settings = self.fill("nginx.conf", PORT=port, UPSTREAM=self.upstream, FOLDER=self.folder)
        nginx = self.spawn(["nginx", "-p", self.folder, "-e", self.folder / "error.log", "-c", settings])
        wait_for(port)
        children = pathlib.Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()
        self.ready(name, port, int(children[0]))

    def gateway(self, name):
        port = free_port()
        binary = self.options.before if name == "before" else self.target / "portcullis"
        shutil.copy(HERE / "support/policy.yaml", self.folder)
        settings = self.fill("gateway.yaml", PORT=port, UPSTREAM=self.upstream.rpartition(":")[2], LOG="warn")
        settings = settings.rename(self.folder / f"{name}.yaml")
        text = settings.read_text().replace("audit.jsonl", f"{name}.jsonl")
        if name in ("buffered", "strict"):
            text = text.replace("durability: written", f"durability: {name}")
        if name == "signed":
            subprocess.run([binary, "audit", "init", "bench", "--key", self.folder / "audit.key"],
                           check=True, stdout=subprocess.DEVNULL)
            text = text.replace("audit:\n", "audit:\n  checkpoints: { key: audit.key, every: 1s }\n")
        settings.write_text(text)
        self.ready(name, port, self.spawn([binary, "serve", "--config", settings]).pid)

    def fill(self, name, **values):
        text = (HERE / "support" / name).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (self.folder / name).write_text(text)
        return self.folder / name

    def ready(self, name, port, pid):
        wait_for(port)
        self.ports[name], self.workers[name] = port, pid

    def measure(self, name, call, options, connections):
        argument = "get" if call == "get" else str(self.folder / "body.json")
        pid = self.workers[name]
        before = cpu_seconds(pid)
        ended = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s", "-s", HERE / "journey.lua",
             f"http://127.0.0.1:{self.ports[name]}", "--", self.token, argument],
            check=True, stdout=subprocess.PIPE, text=True)
        used = cpu_seconds(pid) - before
        line = next(line for line in ended.stdout.splitlines() if line.startswith("FIGURES"))
        requests, micros, p50, p99, errors = map(int, line.split()[1:])
        return {"rate": requests / micros * 1e6, "p50": p50 / 1e3, "p99": p99 / 1e3,
                "cpu": used / max(requests, 1) * 1e6, "errors": errors}


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


if __name__ == "__main__":
    main()
