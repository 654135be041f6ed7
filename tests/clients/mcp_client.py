"""The `mcp` package on both sides of examples/mcp and policies/mcp-tools, over streamable HTTP.

Both eras of the protocol: the handshake with a session (up to 2025-11-25), and one envelope per request
(2026-07-28), whose `Mcp-Method` and `Mcp-Name` headers repeat what stands in the body.
"""

import contextlib
import json
import urllib.error
import urllib.request

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings

from mcp_types import ToolListChangedNotification

from harness import PATIENCE, Checks, asgi, example, folder, is_problem, same, within

SERVER = MCPServer("tools")
CALLED = []


@SERVER.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    CALLED.append(("add", a, b))
    return a + b


@SERVER.tool()
async def read_note(path: str, ctx: Context) -> str:
    """Reads a note, and tells how far it is."""
    CALLED.append(("read_note", path))
    await ctx.report_progress(1, 2, "found it")
    if path.endswith("/news.md"):
        # No part of this call: in a session it goes over the stream of the client's GET.
        await ctx.session.send_tool_list_changed()
    return f"the note {path}"


@SERVER.tool()
def delete_note(path: str) -> str:
    """Deletes a note."""
    CALLED.append(("delete_note", path))
    return "gone"


def main():
    checks = Checks("mcp")
    # The protection against DNS rebinding stays on: the server knows one host, which the route has to name.
    known = TransportSecuritySettings(allowed_hosts=["127.0.0.1:8000"])
    app = SERVER.streamable_http_app(transport_security=known)
    with folder() as place, asgi(app) as upstream, example(place, "mcp", upstream) as (gateway, credential):
        bearer = {"Authorization": f"Bearer {credential()}"}
        for mode in ("legacy", "auto"):
            within(session(checks, gateway, bearer, mode), 2 * PATIENCE)
        raw(checks, gateway, bearer)
    checks.end()


@contextlib.asynccontextmanager
async def connected(gateway, mode, headers, **more):
    requests = []

    async def note(request):
        requests.append((request.method, dict(request.headers)))

    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE, event_hooks={"request": [note]}) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, **more) as client:
            client.requests = requests
            yield client


async def session(checks, gateway, bearer, mode):
    era = {"legacy": "a session", "auto": "an envelope per request"}[mode]

    with checks(f"{era}: opens, at the newest version of its era"):
        async with connected(gateway, mode, bearer) as client:
            same(client.protocol_version, {"legacy": "2025-11-25", "auto": "2026-07-28"}[mode])
            same(client.server_info.name, "tools")

    told = []

    async def hear(message):
        if isinstance(message, ToolListChangedNotification):
            told.append(message)

    async with connected(gateway, mode, bearer, message_handler=hear) as client:
        with checks(f"{era}: lists the tools"):
            tools = await client.list_tools()
            same([tool.name for tool in tools.tools], ["add", "read_note", "delete_note"])

        with checks(f"{era}: calls a tool with arguments in range"):
            result = await client.call_tool("add", {"a": 1, "b": 2})
            same(result.structured_content, {"result": 3})

        with checks(f"{era}: calls a tool that reports progress on the way"):
            progress = []

            async def heard(done, total, message):
                progress.append((done, total, message))

            result = await client.call_tool("read_note", {"path": "projects/alpha/a.md"}, progress_callback=heard)
            same(result.content[0].text, "the note projects/alpha/a.md")
            same(progress, [(1, 2, "found it")])

        called = len(CALLED)
        for what, name, arguments, field in [
            ("an argument out of range", "add", {"a": 1, "b": 5000}, "b"),
            ("an argument too many", "add", {"a": 1, "b": 2, "shell": "ls"}, None),
            ("another project's note", "read_note", {"path": "projects/beta/a.md"}, "path"),
            ("a path that climbs", "read_note", {"path": "projects/alpha/../beta/a.md"}, "path"),
            ("a tool that isn't permitted", "delete_note", {"path": "projects/alpha/a.md"}, None),
        ]:
            with checks(f"{era}: refused for {what}, and the client hears why"):
                denied = await refused(client.call_tool(name, arguments))
                problem = is_problem(denied.data, "no_policy")
                # No code that a client would take for its own timeout, and try again.
                same((denied.code, denied.message), (-32013, problem["title"]))
                same(gateway.decision(problem["decision_id"])["decision"], "deny")
                assert not field or f"body/params/arguments/{field}" in problem["fields"], problem

        with checks(f"{era}: refused for a method that isn't permitted"):
            is_problem((await refused(client.read_resource("file:///etc/passwd"))).data, "no_policy")

        with checks(f"{era}: no refused call reached the server"):
            same(len(CALLED), called)

        with checks(f"{era}: goes on after refusals"):
            same((await client.call_tool("add", {"a": 2, "b": 2})).structured_content, {"result": 4})

        if mode == "legacy":
            with checks(f"{era}: the server's own messages arrive over the stream of a GET"):
                # The server drops what it says before that stream stands, so it is asked until something arrives.
                while not told:
                    await client.call_tool("read_note", {"path": "projects/alpha/news.md"})

        with checks(f"{era}: the client sends what the policies were written for"):
            posts = [headers for method, headers in client.requests if method == "POST"]
            named = [headers for headers in posts if "mcp-name" in headers]
            same(bool(named), mode == "auto", "requests with Mcp-Name")
            same(any("mcp-session-id" in headers for headers in posts), mode == "legacy", "sessions")

    with checks(f"{era}: without a token nothing opens"):
        await refused(opened(gateway, mode, {}), (MCPError, BaseExceptionGroup, httpx2.HTTPError))


async def opened(gateway, mode, headers):
    async with connected(gateway, mode, headers):
        pass


async def refused(call, errors=MCPError):
    try:
        await call
    except errors as refusal:
        return refusal
    raise AssertionError("expected a refusal, but it was let through")


def raw(checks, gateway, bearer):
    """What no client of the package sends, but someone may."""
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    deleting = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "delete_note", "arguments": {"path": "x"}}}
    called = len(CALLED)

    def post(body, **headers):
        request = urllib.request.Request(f"{gateway.url}/mcp", json.dumps(body).encode(), {**accept, **bearer, **headers})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    with checks("a batch is refused"):
        status, headers, body = post([listing, deleting])
        same((status, headers["content-type"]), (403, "application/problem+json"))
        is_problem(body, "no_policy")

    with checks("a header that names another tool than the body is refused"):
        adding = {**deleting, "params": {"name": "add", "arguments": {"a": 1, "b": 2}}}
        status, _, body = post(adding, **{"Mcp-Method": "tools/call", "Mcp-Name": "delete_note"})
        same(status, 200)
        answer = json.loads(body)
        same(answer["id"], 2)
        is_problem(answer["error"]["data"], "no_policy")

    with checks("a header that names another method than the body is refused"):
        status, _, body = post(listing, **{"Mcp-Method": "tools/call"})
        is_problem(json.loads(body)["error"]["data"], "no_policy")

    with checks("nothing of that reached the server"):
        same(len(CALLED), called)


if __name__ == "__main__":
    main()
