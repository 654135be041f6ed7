// A reader for parsers_client.py: JSON.parse. The format is told in read.py.
"use strict";
const querystring = require("querystring");
const readline = require("readline");

const text = (value) => Buffer.from(value, "utf8").toString("base64");

function tagged(value) {
  if (value === null) return ["null"];
  if (typeof value === "boolean") return ["bool", value];
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return ["num", bytes.toString("hex")];
  }
  if (typeof value === "string") return ["str", text(value)];
  if (Array.isArray(value)) return ["arr", value.map(tagged)];
  const read = Object.create(null);
  for (const key of Object.keys(value)) read[text(key)] = tagged(value[key]);
  return ["obj", read];
}

function form(body) {
  const put = (to, name, value) => (to[text(name)] ??= []).push(text(value));
  const params = Object.create(null);
  for (const [name, value] of new URLSearchParams(body)) put(params, name, value);
  const old = Object.create(null);
  for (const [name, values] of Object.entries(querystring.parse(body)))
    for (const value of [values].flat()) put(old, name, value);
  return { "node URLSearchParams": params, "node querystring": old };
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  if (process.argv.includes("form")) {
    console.log(JSON.stringify(form(Buffer.from(line, "base64").toString("utf8"))));
    return;
  }
  let read;
  try {
    read = tagged(JSON.parse(Buffer.from(line, "base64").toString("utf8")));
  } catch {
    read = ["error"];
  }
  console.log(JSON.stringify({ node: read }));
});
