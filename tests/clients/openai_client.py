"""The `openai` package through examples/openai and policies/openai-tools, to an endpoint on Starlette and uvicorn."""

import asyncio
import json
import os
import socket
import threading

import openai
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from harness import PATIENCE, Checks, asgi, example, folder, is_problem, same, until, within

REAL_KEY = "sk-real-upstream-key"
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Endpoint:
    """An OpenAI-style endpoint. Its streams go on only once the client says that it has the first chunk."""

    def __init__(self):
        self.seen, self.first_arrived, self.gone = [], threading.Event(), threading.Event()
        post, get = ["POST"], ["GET"]
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=post),
                Route("/v1/models", self.models, methods=get),
            ]
        )

    def note(self, request):
        self.seen.append(dict(request.headers))
        return request.headers.get("authorization") == f"Bearer {REAL_KEY}"

    async def models(self, request):
        if not self.note(request):
            return JSONResponse({"error": {"message": "wrong key"}}, 401)
        model = {"id": "gpt-5", "object": "model", "created": 1, "owned_by": "test"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request):
        if not self.note(request):
            return JSONResponse({"error": {"message": "wrong key"}}, 401)
        body = await request.json()
        if body.get("stream"):
            return StreamingResponse(self.stream(body), media_type="text/event-stream")
        message = {"role": "assistant", "content": '{"city":"Oslo"}'}
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            call = {"name": "get_weather", "arguments": '{"city":"Oslo"}'}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
            }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(completion(body, "chat.completion", choice))

    async def stream(self, body):
        try:
            for part in ["one", "two", "three"]:
                if part == "two":
                    # Were the first chunk held back anywhere, this would never be set.
                    there = await asyncio.to_thread(self.first_arrived.wait, PATIENCE)
                    part = part if there else "the first chunk was held back"
                choice = {"index": 0, "delta": {"content": part}, "finish_reason": None}
                yield f"data: {json.dumps(completion(body, 'chat.completion.chunk', choice))}\n\n"
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.gone.set()
            raise


def completion(body, kind, choice):
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"], "choices": [choice]}


def main():
    checks, endpoint = Checks("openai"), Endpoint()
    os.environ["OPENAI_API_KEY"] = REAL_KEY
    with folder() as place, asgi(endpoint.app) as upstream, example(place, "openai", upstream) as (gateway, credential):
        token = credential()
        options = {"base_url": f"{gateway.url}/v1", "api_key": token, "timeout": PATIENCE, "max_retries": 0}
        run(checks, endpoint, gateway, openai.OpenAI(**options), options)
        records = (gateway.place / "audit.jsonl").read_text()
    with checks("neither the token nor the key is on record"):
        assert token not in records and token.rsplit(".", 1)[1] not in records
        assert REAL_KEY not in records
    checks.end()


def run(checks, endpoint, gateway, client, options):
    create = client.chat.completions.create
    bounds = {"model": "gpt-5-mini", "max_completion_tokens": 100}

    with checks("a plain completion"):
        answer = create(messages=HELLO, **bounds)
        same(answer.model, "gpt-5-mini")
        same(len(answer.choices), 1)

    with checks("a stream arrives chunk by chunk, not at its end"):
        came = []
        for chunk in create(messages=HELLO, stream=True, stream_options={"include_usage": True}, **bounds):
            came.append(chunk.choices[0].delta.content)
            endpoint.first_arrived.set()
        same(came, ["one", "two", "three"])

    with checks("a stream of the async client, by its helper"):
        endpoint.first_arrived.clear()

        async def helper():
            there = openai.AsyncOpenAI(**options)
            async with there.chat.completions.stream(messages=HELLO, **bounds) as stream:
                parts = []
                async for event in stream:
                    if event.type == "content.delta":
                        parts.append(event.delta)
                        endpoint.first_arrived.set()
                return parts

        same(within(helper()), ["one", "two", "three"])

    with checks("a round with a tool"):
        asked = create(messages=HELLO, tools=[WEATHER], tool_choice="auto", **bounds)
        call = asked.choices[0].message.tool_calls[0]
        same(call.function.name, "get_weather")
        result = {"role": "tool", "tool_call_id": call.id, "content": "-3 °C"}
        told = create(messages=[*HELLO, asked.choices[0].message, result], tools=[WEATHER], **bounds)
        assert told.choices[0].message.content

    with checks("a structured answer, parsed into a model"):
        class Place(BaseModel):
            city: str

        parsed = client.chat.completions.parse(messages=HELLO, response_format=Place, **bounds)
        same(parsed.choices[0].message.parsed, Place(city="Oslo"))

    with checks("the models"):
        same([model.id for model in client.models.list()], ["gpt-5"])

    with checks("the endpoint saw the real key in each request, and the token in none"):
        assert endpoint.seen
        for headers in endpoint.seen:
            same(headers["authorization"], f"Bearer {REAL_KEY}")
            same(headers["host"], "api.openai.com")
            assert not any(options["api_key"] in value for value in headers.values()), headers

    reached = len(endpoint.seen)
    smuggled = {"type": "mcp", "server_label": "x", "server_url": "https://evil.example/mcp"}
    for what, asked, field in [
        ("a remote MCP server among the tools", {"tools": [WEATHER, smuggled]}, "body/tools"),
        ("a tool that isn't on the list", {"tools": [{"type": "function", "function": {"name": "rm"}}]}, "body/tools"),
        ("another model", {"model": "gpt-5-pro"}, "body/model"),
        ("more tokens than the cap", {"max_completion_tokens": 100_000}, "body/max_completion_tokens"),
        ("many answers at once", {"n": 50}, "body/n"),
    ]:
        with checks(f"refused: {what}"):
            denied = refused(openai.PermissionDeniedError, lambda: create(messages=HELLO, **{**bounds, **asked}))
            problem = is_problem(denied.body, "no_policy")
            same(problem["fields"], [field], "fields")
            same(gateway.decision(problem["decision_id"])["decision"], "deny")

    with checks("refused: another door of the same provider"):
        denied = refused(openai.PermissionDeniedError, lambda: client.responses.create(model="gpt-5", input="Hi"))
        is_problem(denied.body, "no_policy")

    with checks("refused: no token of ours, but the provider's own key"):
        stolen = client.with_options(api_key=REAL_KEY)
        denied = refused(openai.AuthenticationError, lambda: stolen.models.list())
        is_problem(denied.body, "invalid_token")

    with checks("no refused request reached the endpoint"):
        same(len(endpoint.seen), reached)

    with checks("a client that leaves a stream takes it down"):
        endpoint.first_arrived.clear()
        endpoint.gone.clear()
        stream = create(messages=HELLO, stream=True, **bounds)
        same(next(iter(stream)).choices[0].delta.content, "one")
        stream.close()
        until(lambda: any(o["end"] == "client_gone" for o in gateway.records("outcome")), "an outcome `client_gone`")
        assert endpoint.gone.wait(PATIENCE), "the endpoint goes on"
        endpoint.first_arrived.set()

    with checks("each permitted request has one outcome"):
        permitted = [record["id"] for record in gateway.records() if record["decision"] == "permit"]
        until(lambda: len(gateway.records("outcome")) >= len(permitted), "an outcome for each permit")
        same(sorted(record["id"] for record in gateway.records("outcome")), sorted(permitted))


    with checks("a stream goes on to its end while the proxy stops"):
        endpoint.first_arrived.clear()
        stream = iter(create(messages=HELLO, stream=True, **bounds))
        same(next(stream).choices[0].delta.content, "one")
        gateway.process.terminate()
        until(lambda: not listening(gateway), "the end of the listener")
        endpoint.first_arrived.set()
        same([chunk.choices[0].delta.content for chunk in stream], ["two", "three"])
        same(gateway.process.wait(PATIENCE), 0, "exit code")


def listening(gateway):
    host, port = gateway.addresses[0].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def refused(error, call):
    try:
        call()
    except error as refusal:
        return refusal
    raise AssertionError(f"expected {error.__name__}, but it was let through")


if __name__ == "__main__":
    main()
