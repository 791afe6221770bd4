"""The OpenAI SDK through the gateway that serves the tutorial with groups of their own for limits.

Usage: openai_sdk.py http://127.0.0.1:PORT
Keys: `engineering` may use gpt-4o; `marketing` only gpt-4o-mini; `spent` has a request a minute.
"""

import sys

import openai

BASE = sys.argv[1] + "/v1"
HELLO = [{"role": "user", "content": "Hello"}]


def client(key):
    return openai.OpenAI(base_url=BASE, api_key=key, max_retries=0, timeout=20)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


engineering = client("engineering-key")
marketing = client("marketing-key")

# Plain.
answer = engineering.chat.completions.create(model="gpt-4o", messages=HELLO)
assert answer.choices[0].message.content, answer
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer.usage

# A stream that did not ask for usage sees none, and none of the chunks that come with it.
chunks = list(engineering.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
assert all(chunk.choices for chunk in chunks), chunks
assert all(chunk.usage is None for chunk in chunks), chunks
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.choices[0].message.content

# One that asked gets it, last.
chunks = list(
    engineering.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
)
assert chunks[-1].usage.total_tokens == answer.usage.total_tokens and not chunks[-1].choices, chunks[-1]

# The other endpoints.
response = engineering.responses.create(model="gpt-4o", input="Hello")
assert response.output_text and response.usage.total_tokens > 0, response
events = list(engineering.responses.create(model="gpt-4o", input="Hello", stream=True))
assert events[-1].type == "response.completed" and events[-1].response.usage.total_tokens > 0, events[-1]
assert engineering.completions.create(model="gpt-4o", prompt="Hello").choices[0].text
assert engineering.embeddings.create(model="gpt-4o", input=["a", "b"]).usage.total_tokens > 0

# Refusals are the SDK's own exceptions.
error = raises(openai.AuthenticationError, lambda: client("nobody").chat.completions.create(model="gpt-4o", messages=HELLO))
assert error.code == "invalid_api_key", error
error = raises(openai.PermissionDeniedError, lambda: marketing.chat.completions.create(model="gpt-4o", messages=HELLO))
assert error.code == "model_not_allowed" and error.body["allowed_models"] == ["gpt-4o-mini"], error.body
error = raises(
    openai.PermissionDeniedError,
    lambda: list(marketing.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)),
)
assert error.code == "model_not_allowed", error.body

spent = client("spent-key")
raw = spent.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
assert raw.headers["x-ratelimit-remaining-requests"] == "0", raw.headers
error = raises(openai.RateLimitError, lambda: spent.chat.completions.create(model="gpt-4o", messages=HELLO))
assert error.code == "rate_limit_exceeded", error.body
# A sliding window: up to two minutes for a limit of one.
assert 1 <= int(error.response.headers["retry-after"]) <= 120, error.response.headers
