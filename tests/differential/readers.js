// What Node's JSON.parse finds in bodies: the counterpart of readers.py, which says what goes in and out.
"use strict";

const fs = require("node:fs");

function isBound(key) {
  // Upper case first: it folds the long s.
  return /^max(?!.*(input|prompt)).*tokens$/s.test(key.split("\0")[0].toUpperCase().toLowerCase());
}

function find(value, [name, children], found) {
  const array = Array.isArray(value);
  const object = !array && value !== null && typeof value === "object";
  if (name !== null) found.push([name, array ? [] : object ? {} : value]);
  if (array && Object.hasOwn(children, "*")) {
    for (const element of value) find(element, children["*"], found);
  } else if (object) {
    for (const [key, member] of Object.entries(value)) {
      const known = Object.hasOwn(children, key) || !isBound(key) ? key : "max*tokens";
      if (known !== "*" && Object.hasOwn(children, known)) find(member, children[known], found);
    }
  }
}

function read(body, profile) {
  let value;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
  const found = [];
  find(value, profile, found);
  return found;
}

const profiles = JSON.parse(process.argv[2]);
const frames = fs.readFileSync(process.argv[3]);
const lines = [];
for (let at = 0; at < frames.length; ) {
  const profile = frames.readUInt8(at);
  const length = frames.readUInt32LE(at + 1);
  at += 5;
  lines.push(JSON.stringify(read(frames.subarray(at, at + length), profiles[profile])));
  at += length;
}
process.stdout.write(lines.join("\n"));
