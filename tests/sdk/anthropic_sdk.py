"""The Anthropic SDK through the gateway. Usage and keys as in openai_sdk.py."""

import sys

import anthropic

HELLO = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


def client(key):
    return anthropic.Anthropic(base_url=sys.argv[1], api_key=key, max_retries=0, timeout=20)


def raises(kind, call):
    try:
        call()
    except kind as error:
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        return error
    raise AssertionError(f"no {kind.__name__}")


engineering = client("engineering-key")

message = engineering.messages.create(**HELLO)
assert message.content[0].text, message
assert message.usage.output_tokens > 0, message.usage

with engineering.messages.stream(**HELLO) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == message.content[0].text, text
assert final.usage.output_tokens == message.usage.output_tokens, final.usage

raises(anthropic.AuthenticationError, lambda: client("nobody").messages.create(**HELLO))
error = raises(anthropic.PermissionDeniedError, lambda: client("marketing-key").messages.create(**HELLO))
assert error.body["error"]["type"] == "permission_error", error.body

spent = client("spent-key")
spent.messages.create(**HELLO)
error = raises(anthropic.RateLimitError, lambda: spent.messages.create(**HELLO))
assert error.body["error"]["type"] == "rate_limit_error", error.body
# A sliding window: up to two minutes for a limit of one.
assert 1 <= int(error.response.headers["retry-after"]) <= 120, error.response.headers
