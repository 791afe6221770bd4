// The OpenAI SDK for Node.js, with answers cut anywhere. Usage and keys as in apis.py.

const assert = require("node:assert/strict");
const { OpenAI } = require("openai");

const messages = [{ role: "user", content: "hello there" }];
const text = "one two three four";
const tokens = { "x-mock-prompt-tokens": "21", "x-mock-completion-tokens": "9", "x-mock-cached-tokens": "16" };

function client(apiKey, defaultHeaders = {}, options = {}) {
  return new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey, defaultHeaders, timeout: 20_000, ...options });
}

const chat = (client, options = {}) => client.chat.completions.create({ model: "gpt-4o", messages, ...options });

async function all(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}

async function apis(headers) {
  const team = client("team", headers);
  let answer = await chat(team);
  assert.equal(answer.choices[0].message.content, text);
  assert.equal(answer.usage.total_tokens, 30);
  let chunks = await all(chat(team, { stream: true }));
  assert(chunks.every((chunk) => chunk.choices.length && !chunk.usage));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), text);
  chunks = await all(chat(team, { stream: true, stream_options: { include_usage: true } }));
  assert.deepEqual(chunks.filter((chunk) => chunk.usage).map((chunk) => chunk.usage.total_tokens), [30]);

  answer = await team.responses.create({ model: "gpt-5", input: "hi" });
  assert.equal(answer.output_text, text);
  assert.equal(answer.usage.total_tokens, 30);
  const events = await all(team.responses.create({ model: "gpt-5", input: "hi", stream: true }));
  assert.equal(events.at(-1).response.usage.total_tokens, 30);
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), text);

  answer = await team.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
  assert.equal(answer.data[1].embedding.length, 4);
  assert.equal(answer.usage.total_tokens, 21);
}

async function main() {
  for (const size of ["1", "7", "4096"]) {
    for (const form of [{}, { "x-mock-crlf": "1" }]) {
      await apis({ ...tokens, "x-mock-text": text, "x-mock-chunk": size, "x-mock-comments": "1", ...form });
    }
  }
  const refused = { 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 429: OpenAI.RateLimitError };
  const refuses = (call, status, code) =>
    assert.rejects(call, (error) => {
      assert(error instanceof refused[status], error);
      assert.deepEqual([error.status, error.code], [status, code]);
      return true;
    });
  await refuses(chat(client("nobody")), 401, "invalid_api_key");
  await refuses(chat(client("mini")), 403, "model_not_allowed");
  await refuses(chat(client("mini"), { stream: true }), 403, "model_not_allowed");
  await chat(client("spent", tokens));
  await refuses(chat(client("spent", {}, { maxRetries: 0 })), 429, "rate_limit_exceeded");
  await chat(client("dry", tokens));
  await refuses(chat(client("dry")), 429, "rate_limit_exceeded");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
