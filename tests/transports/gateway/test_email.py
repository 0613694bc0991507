"""E-mails in, replies out: over HTTP with toy models, which say back what they are told. (The examples of the
OpenAPI document have real ones.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email import message_from_string, policy
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_host.protocol.errors import RpcError
from native_host.settings import Settings
from native_host.transports.gateway.email import routes
from native_host.transports.gateway.email.fresh_text import fresh_text
from native_host.transports.gateway.email.html_text import text_of_html
from native_host.transports.gateway.email.reading import MAX_TEXT_BYTES, Letter, read_whole
from native_host.transports.gateway.email.shapes import EmailReply
from native_host.transports.gateway.email.writing import reply_subject, write

from .conftest import ToyGateway
from .toy_chats import ToyChats

DEADLINE_S = 60
ANN, US = "Ann Ö <ann@example.com>", "Support <support@example.com>"


class Mail:
    """A gateway with toy models, and a client of it."""

    def __init__(self, chats: ToyChats, client: httpx.AsyncClient) -> None:
        self.chats = chats
        self.client = client

    async def answer(self, **members: object) -> dict[str, Any]:
        answer = await self.client.post("/api/v1/email", json=members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def refusal(self, **members: object) -> dict[str, Any]:
        answer = await self.client.post("/api/v1/email", json=members)
        assert answer.status_code in (400, 413, 422), answer.text
        return dict(answer.json()["error"])

    @property
    def asked(self) -> list[str]:
        """What the model was given, a text for each chat."""
        return [str(chat.messages[-1].content) for chat in self.chats.chats]


@pytest.fixture
async def mail() -> AsyncIterator[Mail]:
    chats = ToyChats()
    async with (
        ToyGateway(Settings(open_loopback=True), handler=chats) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=DEADLINE_S) as client,
    ):
        yield Mail(chats, client)


def parsed(message: str) -> EmailMessage:
    found = message_from_string(message, _class=EmailMessage, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert isinstance(body, EmailMessage)
    return str(body.get_content()).replace("\r\n", "\n")


def whole(text: str = "What is this?", **headers: str) -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    given_headers = {"From": ANN, "To": US, "Subject": "Hello", "Message-ID": "<2@example.com>"}
    for name, value in {
        **given_headers,
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }.items():
        message[name] = value
    message.set_content(text)
    return message.as_bytes()


async def test_a_reply_keeps_the_thread_together(mail: Mail) -> None:
    found = await mail.answer(
        **{"from": ANN},
        to=US,
        subject="A question",
        date="Sat, 21 Nov 2026 10:00:00 +0000",
        message_id="<2@example.com>",
        references="<0@example.com> <1@example.com>",
        text="What is this?\nTell me – please.",
    )
    reply = parsed(found["reply"]["message"])
    assert reply["Subject"] == found["reply"]["subject"] == "Re: A question"
    assert reply["From"] == US
    assert reply["To"] == ANN
    assert reply["In-Reply-To"] == "<2@example.com>"
    assert reply["References"] == "<0@example.com> <1@example.com> <2@example.com>"
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["Message-ID"].endswith("@example.com>")
    assert reply["Date"]
    asked = "Subject: A question\n\nWhat is this?\nTell me – please."
    assert mail.asked == [asked]
    assert found["response"] == f"0 {asked}"
    assert part(reply, "plain") == found["reply"]["text"]
    assert found["reply"]["text"] == (
        f"0 {asked}\n\nOn Sat, 21 Nov 2026 10:00:00 +0000, Ann Ö wrote:\n"
        "> What is this?\n> Tell me – please.\n"
    )
    assert '<blockquote type="cite">What is this?<br>\nTell me – please.</blockquote>' in part(reply, "html")


async def test_a_whole_e_mail_in_and_out(mail: Mail) -> None:
    headers = {"content-type": "message/rfc822", "accept": "message/rfc822"}
    asked = {"max_tokens": "7", "quote": "false"}
    answer = await mail.client.post("/api/v1/email", content=whole(), headers=headers, params=asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "message/rfc822"
    reply = parsed(answer.text)
    assert (reply["Subject"], reply["To"], reply["In-Reply-To"]) == ("Re: Hello", ANN, "<2@example.com>")
    assert part(reply, "plain") == "0 Subject: Hello\n\nWhat is this?\n"
    assert mail.chats.chats[0].max_tokens == 7
    assert mail.chats.chats[0].prompt == "email"
    odd = await mail.client.post("/api/v1/email", content=whole(), headers=headers, params={"tokens": "7"})
    assert odd.status_code == 422


async def test_replies_go_where_they_are_asked_to_go(mail: Mail) -> None:
    found = await mail.answer(message=whole(Reply_To="Bob <bob@example.org>").decode())
    assert parsed(found["reply"]["message"])["To"] == "Bob <bob@example.org>"


async def test_html_alone_is_read_as_text(mail: Mail) -> None:
    html = "<p>What is <b>this</b>?</p><script>steal()</script><blockquote>earlier</blockquote>"
    found = await mail.answer(subject="Re: x", html=html)
    assert mail.asked == ["Subject: Re: x\n\nWhat is this?"]
    assert found["reply"]["subject"] == "Re: x"
    assert "> earlier" in found["reply"]["text"]


async def test_attachments_are_not_read(mail: Mail) -> None:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["Subject"] = ANN, "With a file"
    message.set_content("See the file.")
    message.add_attachment("secret,figures", subtype="csv", filename="a.csv")
    message.add_attachment("attached text", filename="b.txt")
    await mail.answer(message=message.as_bytes().decode())
    assert mail.asked == ["Subject: With a file\n\nSee the file."]


ATTACKS = [
    "\r\nBcc: victim@example.com",
    "\nBcc: victim@example.com",
    "\r\n\r\n<script>",
    "\u2028Bcc: x",
    "\0\x0b\x0c",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_member_can_add_headers(mail: Mail, attack: str) -> None:
    good = {"from": ANN, "to": US, "subject": "s", "message_id": "<1@e.com>", "date": "today", "text": "hi"}
    known = ("Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted")
    for member in ("subject", "from", "to", "reply_to", "date", "message_id", "references"):
        asked = {**good, member: f"{good.get(member, ANN)}{attack}"}
        answer = await mail.client.post("/api/v1/email", json=asked)
        if answer.status_code != 422:
            head = answer.json()["reply"]["message"].partition("\r\n\r\n")[0]
            lines = [line for line in head.split("\r\n") if not line.startswith((" ", "\t"))]
            names = [line.partition(":")[0] for line in lines]
            assert set(names) <= {*known, "MIME-Version", "Content-Type"}
            assert len(names) == len(set(names))


async def test_encoded_words_cannot_add_headers_either(mail: Mail) -> None:
    raw = whole().replace(b"Subject: Hello", b"Subject: =?utf-8?q?a=0D=0ABcc=3A_victim=40example=2Ecom?=")
    found = await mail.answer(message=raw.decode())
    reply = parsed(found["reply"]["message"])
    assert reply["Bcc"] is None
    assert reply["Subject"] == "Re: a Bcc: victim@example.com"


TWICE_ENCODED = "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D0D=3D0ABcc=3A_evil=40x=2Eorg=3F=3D?="
WHOLE_MESSAGE = (
    "=?utf-8?q?x=0D=0ATo:_victim@v.org=0D=0AFrom:_ceo@corp.com=0D=0A=0D=0APay_now.?="  # in the clear
)
HEADS = {
    "Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
    "MIME-Version", "Content-Type",
}  # fmt: skip


def only_ours(message: str) -> None:
    """Its headers are those of a reply, each once, to and from one address each, whoever reads it."""
    for rules in (policy.compat32, policy.default):
        found = message_from_string(message, policy=rules)
        assert set(found.keys()) <= HEADS
        assert len(found.keys()) == len(set(found.keys()))
        for name in ("From", "To"):
            if name not in found:  # an attack may be no address at all to this release of Python
                continue
            addresses = [address for _, address in getaddresses([str(found[name])])]
            assert addresses == ["support@example.com" if name == "From" else "ann@example.com"]
        parts = found.get_payload()
        assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]  # type: ignore[union-attr]


@pytest.mark.parametrize("attack", [TWICE_ENCODED, WHOLE_MESSAGE, "=?utf-8?q?a=0D=0ABcc:x?=", "=?x?q?y"])
async def test_text_that_would_be_decoded_again_adds_nothing(mail: Mail, attack: str) -> None:
    good = {"from": ANN, "to": US, "subject": "s", "message_id": "<1@e.com>", "text": "hi"}
    attacks = {
        "subject": attack,
        "from": f"{attack} <ann@example.com>",
        "to": f'"{attack}" <support@example.com>',
        "reply_to": f"{attack} <ann@example.com>",
        "message_id": f"<{attack}>",
        "references": f"<0@e.com> <{attack}>",
    }
    for member, value in attacks.items():
        answer = await mail.client.post("/api/v1/email", json={**good, member: value})
        # An unquoted name with an @ in it is an address to some releases of Python, and none to others.
        unquoted = member in ("from", "reply_to") and "@" in attack
        assert answer.status_code == 200 or (unquoted and answer.status_code == 422), answer.text
        if answer.status_code == 200:
            only_ours(answer.json()["reply"]["message"])
    heads = (
        f"Subject: {attack}\r\nFrom: {attack} <ann@example.com>\r\nTo: {attack} <support@example.com>\r\n"
        f"Message-ID: <{attack}>\r\nReferences: <{attack}>\r\n\r\nhi"
    )
    reply = (await mail.answer(message=heads))["reply"]
    only_ours(reply["message"])
    assert "in_reply_to" not in reply
    found = await mail.answer(**{**good, "subject": attack})
    assert parsed(found["reply"]["message"])["Subject"] == found["reply"]["subject"] == f"Re: {attack}"


@pytest.mark.parametrize(
    "name", ["aa, " * 60 + "<evil@x.org>, b", "é, " * 60 + "<evil@x.org>", 'a" <x@y.z>, b', "\\"]
)
async def test_a_name_stays_a_name(mail: Mail, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    found = await mail.answer(**{"from": f'"{quoted}" <ann@example.com>'}, to=US, text="hi")
    only_ours(found["reply"]["message"])
    assert [address for _, address in getaddresses([found["reply"]["to"]])] == ["ann@example.com"]


async def test_long_headers_are_folded(mail: Mail) -> None:
    ids = " ".join(f"<{number}{'x' * 200}@example.com>" for number in range(15))
    good = {"from": ANN, "to": US, "message_id": "<1@e.com>", "text": "hi"}
    for subject in ("word " * 500, "x" * 3000, "ü" * 1000):
        found = await mail.answer(**good, subject=subject, references=ids)
        only_ours(found["reply"]["message"])
        assert max(len(line) for line in found["reply"]["message"].split("\r\n")) < 998
        reply = parsed(found["reply"]["message"])
        assert reply["Subject"] == found["reply"]["subject"]
        assert reply["References"].split() == [*ids.split(), "<1@e.com>"]


ODD_HEADS = [
    "Subject: =?utf-8?b?a?=",
    f"From: {'(' * 1500}",
    "From: foo@a..b",
    "From: =?utf-8?q?x?=@example.com",
    "Content-Type: text/plain; charset*=x'y'%ff",
]


@pytest.mark.parametrize("head", ODD_HEADS)
async def test_an_odd_header_is_no_failure(mail: Mail, head: str) -> None:
    found = await mail.answer(message=f"X: y\r\n{head}\r\n\r\nhi")
    assert "hi" in found["response"]


@pytest.mark.parametrize("address", ["foo..x@docomo.example", ".foo.@docomo.example"])
async def test_addresses_that_some_have_though_they_may_not(mail: Mail, address: str) -> None:
    found = await mail.answer(**{"from": address}, text="hi")
    assert f"\r\nTo: {address}\r\n" in found["reply"]["message"]
    whole_one = await mail.answer(message=f"From: Foo <{address}>\r\n\r\nhi")
    assert f"\r\nTo: Foo <{address}>\r\n" in whole_one["reply"]["message"]


async def test_what_cannot_be_answered_costs_no_tokens(mail: Mail) -> None:
    for address in ("foo@a..b", "(" * 1500, "=?utf-8?q?x?=@example.com"):
        assert (await mail.refusal(**{"from": address}, text="hi"))["path"] == "from"
    assert not mail.chats.chats


async def test_what_takes_long_to_take_apart_is_refused(mail: Mail) -> None:
    multiparts = "Content-Type: multipart/mixed\n\n" * 60
    assert "multiparts" in (await mail.refusal(message=f"From: a@example.com\n{multiparts}"))["message"]
    for end in ("\n", "\r", "\r\n"):
        message = f"From: a@example.com{end}{end}{end * 200_000}"
        assert "lines" in (await mail.refusal(message=message))["message"]
    assert not mail.chats.chats


def test_long_parameters_are_cut_before_they_are_taken_apart() -> None:
    """In full they would run into the test's own limit."""
    parameters = f'multipart/mixed; boundary="{";" * 4_000_000}'
    message = f"From: a@example.com\nContent-Type: {parameters}\n\nhi"
    with contextlib.suppress(RpcError):
        read_whole(message.encode())


async def test_what_is_no_address_is_refused(mail: Mail) -> None:
    for address in ("nobody", "a@b@c", "<>", "a b@example.com x", "ann@example.com>, <x", ""):
        answer = await mail.client.post("/api/v1/email", json={"from": address, "text": "hi"})
        if answer.status_code == 200:  # the parser found an address in it: it must stand alone
            assert answer.json()["reply"]["to"] == "ann@example.com"
        else:
            assert answer.json()["error"]["path"] == "from"


async def test_the_models_html_can_do_nothing(mail: Mail) -> None:
    text = (
        "<script>alert(1)</script> <img src=x onerror=alert(1)> **bold** [a](javascript:alert(1))"
        " [b](https://example.com) ![p](https://example.com/track.png)"
    )
    html = (await mail.answer(text=text))["reply"]["html"]
    assert "<strong>bold</strong>" in html
    assert 'href="https://example.com"' in html
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


@pytest.mark.parametrize(
    "headers",
    [{"Auto_Submitted": "auto-replied"}, {"Precedence": "bulk"}, {"Auto_Submitted": "auto-generated; x"}],
)
async def test_programs_are_not_answered(mail: Mail, headers: dict[str, str]) -> None:
    error = await mail.refusal(message=whole(**headers).decode())
    assert "loops" in error["message"]
    assert not mail.chats.chats


async def test_what_is_no_e_mail_is_refused(mail: Mail) -> None:
    assert (await mail.refusal(message="hello"))["path"] == "message"
    assert (await mail.refusal(message=whole().decode(), text="x"))["path"] == "message"
    assert (await mail.refusal(subject="x"))["path"] == "text"
    assert (await mail.refusal(text=" \n"))["path"] == "text"
    assert (await mail.refusal(text="x" * (MAX_TEXT_BYTES + 1)))["kind"] == "input_too_long"
    nested = "".join(f'Content-Type: multipart/mixed; boundary="{n}"\n\n--{n}\n' for n in range(3000))
    assert (await mail.refusal(message=f"From: a@example.com\n{nested}"))["kind"] == "invalid_params"
    assert not mail.chats.chats


async def test_a_batch_answers_each_on_its_own(mail: Mail) -> None:
    messages = [
        {"subject": "one", "text": "a"},
        {"subject": "two"},
        {"text": "fail"},
        *({"text": f"number {number}"} for number in range(20)),
    ]
    answer = await mail.client.post("/api/v1/email/batch", json={"messages": messages})
    assert answer.status_code == 200
    one, two, three, *others = answer.json()["results"]
    assert one["answer"]["reply"]["subject"] == "Re: one"
    assert two["error"]["kind"] == "invalid_params"
    assert three["error"]["kind"] == "invalid_model_file"
    assert [each["answer"]["response"] for each in others] == [f"0 number {number}" for number in range(20)]
    for bad in ([], [{"text": "x"}] * 65):
        assert (await mail.client.post("/api/v1/email/batch", json={"messages": bad})).status_code == 422


async def test_a_failure_of_one_is_its_own(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_or_fail(letter: Letter, answer: str, *, quote: bool) -> EmailReply:
        if "two" in answer:
            raise ZeroDivisionError
        return write(letter, answer, quote=quote)

    monkeypatch.setattr(routes, "write", write_or_fail)
    messages = [{"text": text} for text in ("one", "two", "three")]
    answer = await mail.client.post("/api/v1/email/batch", json={"messages": messages})
    assert answer.status_code == 200
    one, two, three = answer.json()["results"]
    assert two["error"]["kind"] == "internal_error"
    assert [each["answer"]["response"] for each in (one, three)] == ["0 one", "0 three"]
    alone = await mail.client.post("/api/v1/email", json={"text": "two"})
    assert alone.status_code == 500
    assert alone.json()["error"]["kind"] == "internal_error"


async def test_a_batch_tells_how_the_limit_stands_after_it() -> None:
    async with (
        ToyGateway(Settings(open_loopback=True, rate_limit=9), handler=ToyChats()) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=DEADLINE_S) as client,
    ):
        answer = await client.post("/api/v1/email/batch", json={"messages": [{"text": "a"}] * 5})
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("9", "4")


@pytest.mark.parametrize("settings", [{"rate_limit": 2}, {"address_rate_limit": 2}])
async def test_each_of_a_batch_counts_as_a_request(settings: dict[str, Any]) -> None:
    chats = ToyChats()
    async with (
        ToyGateway(Settings(open_loopback=True, **settings), handler=chats) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=DEADLINE_S) as client,
    ):
        answer = await client.post("/api/v1/email/batch", json={"messages": [{"text": "a"}] * 5})
        kinds = [each.get("error", {}).get("kind") for each in answer.json()["results"]]
        assert kinds == [None, None, "rate_limited", "rate_limited", "rate_limited"]
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("2", "0")
        assert len(chats.chats) == 2
        assert (await client.post("/api/v1/email", json={"text": "a"})).status_code == 429


async def test_a_client_that_leaves_ends_its_batch(mail: Mail) -> None:
    asking = asyncio.create_task(
        mail.client.post("/api/v1/email/batch", json={"messages": [{"text": "wait"}] * 3})
    )
    await asyncio.wait_for(mail.chats.waiting.wait(), DEADLINE_S)
    asking.cancel()
    await asyncio.wait([asking])
    await asyncio.wait_for(mail.chats.cancelled.wait(), DEADLINE_S)


# What is read of a text


@pytest.mark.parametrize(
    ("text", "fresh"),
    [
        ("Hello\n\nWhat is it?\n-- \nAnn\n+1 555", "Hello\n\nWhat is it?"),
        ("New.\n\nOn Mon, Bob wrote:\n> old\n> older", "New."),
        ("New.\n\nOn Mon, 1 Jan 2026 at 10:00 Bob Builder\n<bob@example.com> wrote:\n\n> old", "New."),
        ("> do you agree?\nyes\n> and here?\nno", "yes\nno"),
        ("New.\n-----Original Message-----\nFrom: Bob\nold", "New."),
        ("New.\n________________________________\nFrom: Bob <b@example.com>\nold", "New."),
        (
            "Above.\n________________________________\nBelow a line.",
            "Above.\n" + "_" * 32 + "\nBelow a line.",
        ),
        ("New.\n\nSent from my iPhone", "New."),
        ("Neu.\n\nAm Montag schrieb Bob:\n> alt", "Neu."),
        ("> only\n> a quote", "> only\n> a quote"),
        ("She wrote:\nnothing", "She wrote:\nnothing"),
    ],
)
def test_only_what_is_new_is_asked(text: str, fresh: str) -> None:
    assert fresh_text(text) == fresh


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b<br>c</p>", "a\n\nb\nc"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("a &lt;b&gt; &amp; &eacute;", "a <b> & é"),
        ("<a href='https://example.com/x'>here</a>", "here <https://example.com/x>"),
        ("<a href=https://example.com>https://example.com</a>", "https://example.com"),
        ("<a href='javascript:x'>here</a>", "here"),
        ("<style>p {}</style><SCRIPT>x < y</SCRIPT>seen<!-- not -->", "seen"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<!DOCTYPE html><title>no</title>x", "x"),
        ("1 < 2 and <3", "1 < 2 and <3"),
        ("seen <script>for ever", "seen"),
        ("seen <!-- for ever", "seen"),
        (f"<p>a&#{'1' * 5000}; b &#65;", "a\ufffd b A"),
        (f"<a href='&#{'1' * 5000};'>here</a>", "here"),
    ],
)
def test_html_as_text(html: str, text: str) -> None:
    assert text_of_html(html) == text


PIECES = ["<", ">", "/", "!", "--", "p", "a href=", "&", " ", "\n", "blockquote", "<script", "lt;"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_html_is_read(html: str) -> None:
    assert "\x00" not in text_of_html(html)
    assert len(text_of_html(html, without_quotes=True)) <= 2 * len(html) + 2


@pytest.mark.parametrize(
    "begin", ["<div>", "<!--", "<", "<p", "</", "<script", "&", "<a href=", "<!", "\n", "> \n\n"]
)
def test_long_and_broken_texts_are_read_in_no_time(begin: str) -> None:
    """What grows faster than its input would run into the test's own limit here."""
    text = begin * (MAX_TEXT_BYTES // len(begin))
    assert isinstance(text_of_html(text), str)
    assert isinstance(fresh_text(f"{'x' * 500_000}\n{text}"), str)


@given(st.binary(max_size=2000))
def test_any_bytes_are_an_e_mail_or_refused(raw: bytes) -> None:
    for message in (raw, b"From: a@example.com\nSubject: x\n\n" + raw):
        with contextlib.suppress(RpcError):  # any other error fails the test
            assert read_whole(message).text


@pytest.mark.parametrize(
    "charset", ["utf-8", "iso-8859-1", "koi8-r", "nonsense", "unicode_escape", "zip", "utf-7"]
)
def test_texts_of_any_encoding(charset: str) -> None:
    head = f"From: a@example.com\nContent-Type: text/plain; charset={charset}\n\n"
    assert "hi" in read_whole(head.encode() + "hi ü".encode()).text


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("a", "Re: a"),
        ("Re: a", "Re: a"),
        ("RE: re:Re[2]: AW: a", "Re: a"),
        ("Fwd: a", "Re: Fwd: a"),
        ("Regards", "Re: Regards"),
        ("", "Re:"),
    ],
)
def test_a_reply_is_marked_once(subject: str, reply: str) -> None:
    assert reply_subject(subject) == reply
