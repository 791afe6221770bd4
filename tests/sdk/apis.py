"""Every API by its own SDK, with answers cut anywhere and in several forms. Usage: apis.py http://127.0.0.1:PORT

Keys: `team` may do everything; `mini` may use gpt-4o-mini only; `spent` has a request a minute, `dry` one a month.
"""

import sys

import anthropic
import openai
from google import genai
from google.genai import errors

BASE = sys.argv[1]
HELLO = [{"role": "user", "content": "hello there"}]
TOKENS = {"x-mock-prompt-tokens": "21", "x-mock-completion-tokens": "9", "x-mock-cached-tokens": "16"}
TEXT = "one two three four"


def openai_client(key, headers=None, **options):
    return openai.OpenAI(base_url=BASE + "/v1", api_key=key, default_headers=headers, timeout=20, **options)


def anthropic_client(key, headers=None, **options):
    return anthropic.Anthropic(base_url=BASE, api_key=key, default_headers=headers, timeout=20, **options)


def gemini_client(key, headers=None):
    return genai.Client(api_key=key, http_options={"base_url": BASE, "headers": headers or {}, "timeout": 20000})


def chat(client, **options):
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, **options)


def message(client, **options):
    return client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO, **options)


def generate(client):
    return client.models.generate_content(model="gemini-2.5-flash", contents="hello there")


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def openai_apis(headers):
    client = openai_client("team", headers)
    answer = chat(client)
    assert answer.choices[0].message.content == TEXT and answer.usage.total_tokens == 30, answer
    chunks = list(chat(client, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT, chunks
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [30], chunks
    options = {"model": "gpt-4o", "messages": HELLO}
    with client.chat.completions.stream(**options) as stream:
        assert stream.get_final_completion().choices[0].message.content == TEXT

    answer = client.responses.create(model="gpt-5", input="hi")
    assert answer.output_text == TEXT and answer.usage.total_tokens == 30, answer
    events = list(client.responses.create(model="gpt-5", input="hi", stream=True))
    assert events[-1].type == "response.completed" and events[-1].response.usage.total_tokens == 30, events
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT, events

    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert len(answer.data) == 2 and answer.usage.total_tokens == 21, answer


def anthropic_apis(headers):
    client = anthropic_client("team", headers)
    answer = message(client)
    assert answer.content[0].text == TEXT and answer.usage.output_tokens == 9, answer
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == TEXT
        usage = stream.get_final_message().usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (5, 16, 9), usage
    assert client.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO).input_tokens == 21


def gemini_apis(headers):
    client = gemini_client("team", headers)
    answer = generate(client)
    assert answer.text == TEXT and answer.usage_metadata.total_token_count == 30, answer
    chunks = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="hello there"))
    assert "".join(chunk.text for chunk in chunks) == TEXT, chunks
    assert chunks[-1].usage_metadata.total_token_count == 30, chunks[-1]


for size in "1", "7", "4096":
    for form in {}, {"x-mock-crlf": "1"}:
        headers = {**TOKENS, "x-mock-text": TEXT, "x-mock-chunk": size, **form}
        # This SDK does not take comments.
        gemini_apis(headers)
        openai_apis({**headers, "x-mock-comments": "1"})
        anthropic_apis({**headers, "x-mock-comments": "1"})

# What a group may use is what it is shown.
assert [model.id for model in openai_client("mini").models.list()] == ["gpt-4o-mini"]
assert [model.id for model in anthropic_client("mini").models.list()] == ["gpt-4o-mini"]

# Refusals are the SDKs' own exceptions, and none is tried again: apis.rs counts them.
assert raises(openai.AuthenticationError, lambda: chat(openai_client("nobody"))).code == "invalid_api_key"
error = raises(openai.PermissionDeniedError, lambda: chat(openai_client("mini"), stream=True))
assert error.code == "model_not_allowed" and error.body["allowed_models"] == ["gpt-4o-mini"], error.body
error = raises(anthropic.AuthenticationError, lambda: message(anthropic_client("nobody")))
assert error.body["error"]["type"] == "authentication_error", error.body
error = raises(anthropic.PermissionDeniedError, lambda: message(anthropic_client("mini")))
assert error.body["error"]["type"] == "permission_error", error.body
error = raises(errors.ClientError, lambda: generate(gemini_client("nobody")))
assert (error.code, error.status) == (401, "UNAUTHENTICATED"), error
error = raises(errors.ClientError, lambda: generate(gemini_client("mini")))
assert (error.code, error.status) == (403, "PERMISSION_DENIED") and "mini" in error.message, error

chat(openai_client("spent", TOKENS))
error = raises(openai.RateLimitError, lambda: chat(openai_client("spent", max_retries=0)))
assert error.code == "rate_limit_exceeded" and 1 <= int(error.response.headers["retry-after"]) <= 120, error
error = raises(anthropic.RateLimitError, lambda: message(anthropic_client("spent", max_retries=0)))
assert error.body["error"]["type"] == "rate_limit_error", error.body
error = raises(errors.ClientError, lambda: generate(gemini_client("spent")))
assert (error.code, error.status) == (429, "RESOURCE_EXHAUSTED"), error

# Waiting would be of no use: the SDKs are told not to, and do not, though they would try again otherwise.
chat(openai_client("dry", TOKENS))
error = raises(openai.RateLimitError, lambda: chat(openai_client("dry")))
assert error.response.headers["x-should-retry"] == "false", error.response.headers
raises(anthropic.RateLimitError, lambda: message(anthropic_client("dry")))
