"""The routes: one e-mail, or several of which each is answered on its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.transports.gateway import bodies
from native_host.transports.gateway.authentication import admission
from native_host.transports.gateway.dialects import OWN, OwnErrorBody
from native_host.transports.gateway.email.reading import Letter, read, read_whole
from native_host.transports.gateway.email.shapes import (
    RFC822,
    Email,
    EmailAnswer,
    EmailAnswers,
    EmailBatch,
    EmailReply,
    EmailResult,
    Options,
)
from native_host.transports.gateway.email.writing import check, write
from native_host.transports.gateway.gateway import Gateway, client_left, json_answer
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.rest import figures

Asked = tuple[Callable[[], Letter], Options]
"""How an e-mail is read, which takes a thread, and how it is to be answered."""

_AT_ONCE = 8
"""How many of a batch are answered together, if the key allows as many."""

_EXAMPLE = {
    "from": "Ann <ann@example.com>",
    "to": "Support <support@example.com>",
    "subject": "A question",
    "message_id": "<1@example.com>",
    "text": "Hello,\n\nwhat is a worker?\n\n-- \nAnn",
    "max_tokens": 64,
}

_LETTER = """From: Ann <ann@example.com>
To: Support <support@example.com>
Subject: A question
Message-ID: <1@example.com>

Hello, what is a worker?
"""
_ANSWERED = EmailAnswer(
    response="A worker is a process.",
    model="tabagent-demo",
    tokens_used=96,
    processing_time=0.08,
    timestamp="2026-11-21T12:00:00Z",
    finish_reason="stop",
    reply=EmailReply(
        subject="Re: A question",
        text="A worker is a process.\n",
        html="<p>A worker is a process.</p>\n",
        message="Subject: Re: A question\r\nFrom: Support <support@example.com>\r\n"
        "To: Ann <ann@example.com>\r\nIn-Reply-To: <1@example.com>\r\n\r\nA worker is a process.\r\n",
        sender="Support <support@example.com>",
        to="Ann <ann@example.com>",
        in_reply_to="<1@example.com>",
        references="<1@example.com>",
    ),
)


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = gateway.router(OWN)
    replies = Replies(gateway)

    async def email(request: Request) -> Response:
        """Answer an e-mail, with one that can be sent as it stands."""
        [answer] = await replies.all_of(request, [await _one(gateway, request)])
        if isinstance(answer, RpcError):
            raise answer
        if request.headers.get("accept", "").startswith(RFC822):
            return Response(answer.reply.message, media_type=RFC822)
        return json_answer(answer)

    async def batch(request: Request) -> Response:
        """Answer e-mails, each on its own: a bad one spoils no other."""
        asked = await gateway.body(request, EmailBatch)
        answers = await replies.all_of(request, [(partial(read, each), each) for each in asked.messages])
        return json_answer(EmailAnswers(results=[_told(each) for each in answers]))

    one = Operation(
        body=Email,
        answer=EmailAnswer,
        answered=_ANSWERED,
        streams={RFC822: _ANSWERED.reply.message},
        texts={RFC822: _LETTER},
        query=Options,
        example=_EXAMPLE,
    )
    add(routes, "/api/v1/email", email, one)
    several = {"messages": [_EXAMPLE, {"subject": "Re: formats", "text": "Which formats?", "max_tokens": 32}]}
    refused = OwnErrorBody(code=-32602, kind="invalid_params", message="invalid params: text: there is none")
    answers = EmailAnswers(results=[EmailResult(answer=_ANSWERED), EmailResult(error=refused)])
    operation = Operation(body=EmailBatch, answer=EmailAnswers, answered=answers, example=several)
    add(routes, "/api/v1/email/batch", batch, operation)
    return routes


async def _one(gateway: Gateway, request: Request) -> Asked:
    """How the e-mail is read, and how it is to be answered: from JSON, or from the e-mail itself with options
    in the address.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != RFC822:
        email = await gateway.body(request, Email)
        return partial(read, email), email
    try:
        options = msgspec.convert(dict(request.query_params), Options, strict=False)
    except msgspec.ValidationError as error:
        raise errors.invalid_params("", str(error)) from None
    body = await bodies.read(gateway.host, request, request.state.held)
    return partial(read_whole, bytes(body)), options


class Replies:
    """Has e-mails answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def all_of(self, request: Request, asked: Sequence[Asked]) -> list[EmailAnswer | RpcError]:
        """The answers, in order, unless the client leaves before. Raises ClientDisconnect."""
        answering = asyncio.ensure_future(self._all_of(request, asked))
        leaving = asyncio.ensure_future(client_left(request))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientDisconnect
            return answering.result()
        finally:
            leaving.cancel()
            answering.cancel()

    async def _all_of(self, request: Request, asked: Sequence[Asked]) -> list[EmailAnswer | RpcError]:
        identity: Identity = request.state.identity
        admit = admission(self._gateway.host, request)
        turns = asyncio.Semaphore(min(_AT_ONCE, identity.quotas.concurrent or _AT_ONCE))

        async def in_turn(number: int, each: Asked) -> EmailAnswer | RpcError:
            async with turns:
                try:
                    if number:  # the first was counted with the HTTP request
                        await admit(identity)
                    return await self._answered(identity, *each)
                except RpcError as error:
                    return error
                except Exception as error:  # noqa: BLE001 - whatever one holds, the others are answered
                    incident = self._gateway.host.incident("email.failed", error, number=number)
                    return errors.internal_error(incident)

        return await asyncio.gather(*(in_turn(number, each) for number, each in enumerate(asked)))

    async def _answered(
        self, identity: Identity, reading: Callable[[], Letter], options: Options
    ) -> EmailAnswer:
        began = time.monotonic()
        letter = await asyncio.to_thread(_checked, reading)
        result: wire.ChatResult = await self._gateway.call_for(identity, "chat", _params(letter, options))
        text = result.message.content.strip()
        reply = await asyncio.to_thread(write, letter, text, quote=options.quote)
        return EmailAnswer(
            response=text, finish_reason=result.finish_reason, reply=reply, **figures(result, began)
        )


def _checked(reading: Callable[[], Letter]) -> Letter:
    """What was read, if there can be a reply to it: before a model works for nothing."""
    letter = reading()
    check(letter)
    return letter


def _params(letter: Letter, options: Options) -> wire.ChatParams:
    """The question to the model: what is new in the e-mail, with its subject."""
    subject = f"Subject: {letter.subject}\n\n" if letter.subject else ""
    messages = [wire.ChatMessage(role="user", content=subject + letter.fresh)]
    if options.system is not None:
        messages.insert(0, wire.ChatMessage(role="system", content=options.system))
    return wire.ChatParams(
        messages=messages,
        model=options.model,
        prompt=options.prompt,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        timeout_s=options.timeout_s,
    )


def _told(answer: EmailAnswer | RpcError) -> EmailResult:
    if isinstance(answer, EmailAnswer):
        return EmailResult(answer=answer)
    return EmailResult(error=OwnErrorBody(code=answer.code, kind=answer.kind, message=answer.message))
