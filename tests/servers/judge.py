"""A judge on loopback for the tests: the longer answer wins, and faults come when they are asked for.

    with JudgeServer() as judge:
        judge.fail("429", on={3, 8})               the third and the eighth request, counted from 1
        judge.fail("400", on={"question 7"})       every request about this instruction
        judge.fail("401")                          every request
        judge.fail(None)                           none any more
        ... Judge(model="longer", base_url=judge.url)
        assert len(judge.bodies) == 805

Faults: any status ("401" repeats the key; `error` adds to what it says), "quota", "garbage" (a token that is
no name), "text" and "broken" (no JSON; "broken" says that it were), "drop" (the connection ends), "cut" (it
ends in the middle of the answer), "hang" (until the server ends; `hung` counts them) and "drip" (ten bytes a
second). `retry_after` is the header of a "429".

`prefers(first, second)` decides in place of the length; `drawn_first` answers in vLLM's order, with a
sixth token that was drawn though it is unlikely. `choices` holds whole choices by instruction, to replay;
`raw` whole bodies.

Asked without log-probabilities, as MT-Bench asks, it says `says`: "Rating: [[7]]", or what it is set to.
"""

import json
import math
import re
import sys
import threading
from collections.abc import Callable, Container
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Body", "JudgeServer", "question_of"]

Body = dict[str, Any]


class JudgeServer:
    """Counts every request it gets: `bodies` in the order of their arrival, faults included."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.says: Callable[[Body], str] = lambda _: "Rating: [[7]]"
        self.prefers: Callable[[str, str], bool] | None = None
        self.drawn_first = False
        self.choices: dict[str, Body] = {}
        self.raw: dict[str, bytes] = {}
        self.retry_after = ""
        self.error: Body = {}
        self.hung = threading.Semaphore(0)
        self.release = threading.Event()
        self._fault: str | None = None
        self._on: Container[int | str] | None = None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(self, fault: str | None, on: Container[int | str] | None = None) -> None:
        """From now on the requests `on` (numbers or instructions; None: all) meet this fault."""
        self._fault, self._on = fault, on

    def take(self, body: Body) -> str | None:
        """Counts a request and says which fault it meets."""
        with self._lock:
            self.bodies.append(body)
            number = len(self.bodies)
        if self._on is None or number in self._on or question_of(body) in self._on:
            return self._fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Clients that are killed in a test leave no traces between the tests' lines."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def question_of(body: Body) -> str:
    """The instruction that a request is about; all that was said last where it is not AlpacaEval's."""
    asked: str = body["messages"][-1]["content"]
    found = re.search(r'"instruction": """(.*?)""",\n', asked, re.DOTALL)
    return found[1] if found else asked


def _handler(judge: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = judge.take(body)
            if fault == "drop":
                self.close_connection = True
                return
            if fault == "hang":
                judge.hung.release()
                judge.release.wait()
                self.close_connection = True
                return
            status, content = _answer(judge, fault, body, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if fault == "text" else "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 429 and judge.retry_after:
                self.send_header("Retry-After", judge.retry_after)
            self.end_headers()
            if fault == "cut":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            if fault == "drip":
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if judge.release.wait(0.1):
                        return
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _answer(judge: JudgeServer, fault: str | None, body: Body, authorization: str) -> tuple[int, bytes]:
    if fault and fault.isdecimal():
        return int(fault), _json({"error": {"message": f"fault {fault} for {authorization}", **judge.error}})
    if fault == "quota":
        return 429, _json({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    if fault in ("text", "broken"):
        return 200, b"<html>a proxy's page</html>"
    if (raw := judge.raw.get(question_of(body))) is not None:
        return 200, raw
    if "logprobs" not in body:
        return 200, _json(_completion(body, judge.says(body), None))
    if choice := judge.choices.get(question_of(body)):
        return 200, _json({**_completion(body, "", None), "choices": [choice]})
    ranked = ["?", "!"] if fault == "garbage" else _ranked(judge, body)
    top = _likeliest(ranked)
    if judge.drawn_first:
        top = [_token("drawn", 1e-9), *top, *(_token(name, 1e-8) for name in "abc")]
    return 200, _json(_completion(body, ranked[0], {"content": [{**top[0], "top_logprobs": top}]}))


def _ranked(judge: JudgeServer, body: Body) -> list[str]:
    """The two names, that of the preferred output first: the longer, if the judge has no other taste."""
    text = body["messages"][-1]["content"]
    first, second = (part.split('"""')[1] for part in text.split('"output": ')[1:3])
    preferred = judge.prefers(first, second) if judge.prefers else len(first) > len(second)
    return ["m", "M"] if preferred else ["M", "m"]


def _likeliest(ranked: list[str]) -> list[Body]:
    return [_token(token, p) for token, p in zip(ranked, (0.9, 0.1), strict=True)]


def _token(token: str, probability: float) -> Body:
    return {"token": token, "bytes": list(token.encode()), "logprob": math.log(probability)}


def _completion(body: Body, text: str, logprobs: Body | None) -> Body:
    message = {"role": "assistant", "content": text}
    return {
        "id": "judgment",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": logprobs}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }


def _json(content: Body) -> bytes:
    return json.dumps(content).encode()
