// Reads JSON lines, answers JSON lines: {"decode": base64} or {"encode": payload}, {"raw": message} for bare fields.
// Payloads are judged by sparkplug-payload alone: its protobuf classes give the fields, its decodePayload the values.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { decodePayload, encodePayload } = require("sparkplug-payload/lib/sparkplugbpayload.js");
const { Payload } = require("sparkplug-payload/lib/sparkplugPayloadProto.js").org.eclipse.tahu.protobuf;

const plain = (key, value) => (value !== null && typeof value === "object" && "unsigned" in value ? String(value) : value);

function decode(text) {
  const bytes = Buffer.from(text, "base64");
  const fields = Payload.toObject(Payload.decode(bytes), { longs: String, bytes: String });
  const understood = decodePayload(bytes);
  (fields.metrics ?? []).forEach((metric, i) => {
    metric.understood = { type: understood.metrics[i].type ?? null, value: understood.metrics[i].value ?? null };
  });
  return fields;
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let said;
  try {
    if ("decode" in asked) said = decode(asked.decode);
    else if ("encode" in asked) said = Buffer.from(encodePayload(asked.encode)).toString("base64");
    else said = Buffer.from(Payload.encode(Payload.fromObject(asked.raw)).finish()).toString("base64");
  } catch (fault) {
    said = { fault: String(fault) };
  }
  process.stdout.write(JSON.stringify(said, plain) + "\n");
}
