"""A judge on loopback that applies the demo's rule, for machines that reach no real one.

    with serve_judge() as base_url: …              http://127.0.0.1:PORT/v1
    python -m tasks.demo.rule_judge --port 8123         the same by itself, until interrupted

It speaks the part of OpenAI's chat completions that alpaca_eval's `weighted_alpaca_eval`
annotators use: one token, "m" or "M", with its log-probabilities.
"""

import argparse
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.core.errors import InputError
from tasks.demo import rule

__all__ = ["MODEL", "judgment", "serve_judge"]

MODEL = "demo-rule"
LEAST = 1e-6  # a probability of zero has no logarithm

_QUESTION = re.compile(
    r'"instruction": """(?P<instruction>.*?)""",\s*\}\s*## Model Outputs\s.*?'
    r'"model_identifier": "m",\s*"output": """(?P<m>.*)"""\s*\},\s*\{\s*'
    r'"model_identifier": "M",\s*"output": """(?P<M>.*)"""\s*\}\s*\}\s*## Task\s',
    re.DOTALL,
)


class _Message(BaseModel):
    content: str


class _Request(BaseModel):
    """What the rule needs of a request; the rest (temperature, logprobs, …) changes nothing."""

    model: str = MODEL
    messages: list[_Message]


def judgment(request: object) -> dict[str, Any]:
    """Answers one chat completion request, a JSON body as OpenAI's API describes it.

    Raises:
        InputError: the messages do not hold AlpacaEval's question.
    """
    try:
        asked = _Request.model_validate(request)
    except ValidationError as error:
        raise InputError(f"no chat completion request: {error}") from error
    text = "\n".join(message.content for message in asked.messages)
    question = _QUESTION.search(text)
    if question is None:
        raise InputError("no question of the form of alpaca_eval_clf.txt in the messages")
    second = rule.preference(question["instruction"], question["m"], question["M"])
    return _completion(asked.model, {"m": 1 - second, "M": second}, len(text) // 4)


def _completion(model: str, probabilities: dict[str, float], prompt_tokens: int) -> dict[str, Any]:
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    top = [_token(token, probability) for token, probability in ranked]
    return {
        "id": "demo",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "length",
                "message": {"role": "assistant", "content": top[0]["token"]},
                "logprobs": {"content": [{**top[0], "top_logprobs": top}]},
            }
        ],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1},
    }


def _token(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode()), "logprob": math.log(max(probability, LEAST))}


@contextmanager
def serve_judge(port: int = 0) -> Iterator[str]:
    """Serves the judge on 127.0.0.1 (port 0: a free one) and yields its base URL."""
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body in one packet

    def do_POST(self) -> None:
        """Answers a chat completion with the rule's preference."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            self._answer(404, _error(f"no {self.path} here: POST /v1/chat/completions"))
            return
        try:
            self._answer(200, judgment(json.loads(body)))
        except (InputError, ValueError) as error:
            self._answer(400, _error(str(error)))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Hundreds of judgments are no news."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description="The demo's rule as an OpenAI-compatible judge.")
    parser.add_argument("--port", type=int, default=8123, help="port on 127.0.0.1, 0 for a free one")
    with serve_judge(parser.parse_args().port) as base_url:
        print(base_url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
