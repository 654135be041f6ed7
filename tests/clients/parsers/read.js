// A reader for parsers_client.py: JSON.parse. The format is told in read.py.
"use strict";
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

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let read;
  try {
    read = tagged(JSON.parse(Buffer.from(line, "base64").toString("utf8")));
  } catch {
    read = ["error"];
  }
  console.log(JSON.stringify({ node: read }));
});
