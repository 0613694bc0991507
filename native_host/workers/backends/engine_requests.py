"""What backends over one of `tabagent_model`'s engines share: a request's options as the engine names them,
its refusals in the catalogue's words, and its events as the host hears them.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import tabagent_model
from tabagent_model.chat import parameter_of

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import BackendUnusableError
from native_host.workers.backends.failures import logged_failure
from native_host.workers.messages import (
    Event,
    Failed,
    Finished,
    Form,
    GenerateRequest,
    Piece,
    Started,
    Timings,
    TokenInfo,
    TopToken,
    Usage,
    wire_error,
)

if TYPE_CHECKING:
    from tabagent_model import types as native
    from tabagent_model.chat import Plan

    from native_host.workers.backends.chats import AnswerParts


class Requests:
    """The requests of an engine: our id of each, and the engine's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ours: dict[int, int] = {}
        self._theirs: dict[int, int] = {}
        self._parts: dict[int, AnswerParts] = {}

    def add(self, request_id: int, submit: Callable[[], int], parts: AnswerParts | None = None) -> None:
        """Submit a request; its events are not translated before its ids are known. `parts` tells the parts
        of a conversation's answer apart."""
        with self._lock:
            theirs = submit()
            self._ours[theirs] = request_id
            self._theirs[request_id] = theirs
            if parts is not None:
                self._parts[request_id] = parts

    def tell(self, request_id: int, action: Callable[[int], object]) -> None:
        """Do something to a request, if there is (still) one of this id."""
        theirs = self._theirs.get(request_id)
        if theirs is not None:
            action(theirs)

    def translate(self, drain: Callable[[], list[native.Event]]) -> list[Event]:
        """The engine's events as ours."""
        with self._lock:
            return [told for event in drain() for told in self._apart(self._event(event))]

    def _apart(self, event: Event) -> list[Event]:
        ends = isinstance(event, (Finished, Failed))
        parts = self._parts.pop(event.id, None) if ends else self._parts.get(event.id)
        return [event] if parts is None else parts.events(event)

    def _event(self, event: native.Event) -> Event:
        theirs = event["request"]
        ours = self._ours[theirs]
        if event["type"] == "started":
            return Started(ours, event["prompt_tokens"], event["cached_tokens"], event["queue_ms"])
        if event["type"] == "piece":
            return Piece(ours, event["text"], [_token(token) for token in event["tokens"]])
        del self._ours[theirs], self._theirs[ours]
        if event["type"] == "failed":
            return Failed(ours, wire_error(logged_failure(event["error"])))
        return Finished(
            ours, event["reason"], Usage(**event["usage"]), Timings(**event["timings"]), event["seed"]
        )


def sampling_of(request: GenerateRequest) -> native.Sampling:
    """A request's options as the engine names them."""
    return {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logit_bias": request.logit_bias or None,
        "seed": request.seed,
        "stop": request.stop or None,
        "logprobs": request.logprobs,
        "response_format": response_format_of(request.form),
        "ignore_eos": request.ignore_eos,
        "priority": request.priority,
        "timeout_s": request.timeout_s,
        "prefix_cache": request.prefix_cache,
        "deterministic": request.deterministic,
        "identity": request.identity,
    }


def planned(request: GenerateRequest, plan: Plan | None) -> native.Sampling:
    """A request's options, as the plan for its conversation has them."""
    options = sampling_of(request)
    if plan is not None:
        options["response_format"] = plan.response_format
        options["spelled"] = plan.spelled or None
    return options


def response_format_of(form: Form | None) -> native.ResponseFormat | None:
    """A form as the engine names it."""
    if form is None:
        return None
    if form.type == "json_object":
        return {"type": "json_object"}
    return cast("native.ResponseFormat", {"type": form.type, form.type: form.text})


def require_tokens(path: str, tokens: list[int], vocabulary_size: int) -> None:
    """Refuse, by its place, a token that the model does not have."""
    for index, token in enumerate(tokens):
        if not 0 <= token < vocabulary_size:
            problem = f"there is no token {token}; the vocabulary has {vocabulary_size}"
            raise errors.invalid_params(f"{path}[{index}]", problem)


@contextlib.contextmanager
def refusals(stats: Callable[[], native.Stats], context_length: int, prompt_tokens: int) -> Iterator[None]:
    """Raise an engine's refusals as what the catalogue calls them: a prompt must leave room for one token,
    the queue is finite, and a broken engine is of no use."""
    try:
        yield
    except tabagent_model.ContextOverflowError:
        raise errors.input_too_long(context_length - 1, tokens=prompt_tokens) from None
    except tabagent_model.InvalidArgumentError as error:
        raise refused(str(error)) from None
    except tabagent_model.TabagentError as error:
        now = stats()
        if now["unusable"] is None and isinstance(error, tabagent_model.InferenceError):
            raise errors.overloaded(now["queued"], round(now["retry_after_s"], 3)) from None
        raise BackendUnusableError(str(error)) from error


_OF_TOOL = re.compile(r"response_format cannot be met: @tool_(\d+)(?:__([\w-]*))?: (.*)", re.DOTALL)


def refused(problem: str) -> RpcError:
    """The engine's complaint about a param, which it begins with."""
    of_tool = _OF_TOOL.match(problem)
    if of_tool is None:
        return errors.invalid_params(path_of(problem), problem)
    number, spelled, why = of_tool.groups()
    path = f"tools[{number}].function.parameters"
    if spelled is not None:
        path += f".properties.{parameter_of(spelled)}"
    return errors.invalid_params(path, why)


def path_of(problem: str) -> str:
    """The param that the engine's complaint begins with, or nothing."""
    word = problem.split(maxsplit=1)[0]
    return word if word in {*GenerateRequest.__struct_fields__, "response_format"} else ""


def _token(token: native.TokenInfo) -> TokenInfo:
    if "logprob" not in token:
        return TokenInfo(token["token"])
    top = [TopToken(each["token"], each["text"], each["logprob"]) for each in token["top"]]
    return TokenInfo(token["token"], token["text"], token["logprob"], top)
