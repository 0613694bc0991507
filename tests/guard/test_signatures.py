"""Signed requests: what is right passes once, and whatever was changed is refused in its own words."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from native_host.guard.signatures import SCHEME, SignatureChecker, SignatureRefused, sign, signature_of

SECRET = b"0123456789abcdef"
NOW = 1_800_000_000
NONCE = "ab" * 16
METHOD, TARGET, BODY = "POST", "/api/v1/chat?x=1", b'{"message": "hello"}'


class Clock:
    """Time that stands still unless it is moved."""

    now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checker(clock: Clock) -> SignatureChecker:
    clock.now -= 1000
    made = SignatureChecker(SECRET, clock)
    clock.now += 1000
    return made


def credentials(timestamp: str = str(NOW), nonce: str = NONCE, secret: bytes = SECRET) -> str:
    """By the document's words, not by the code's function."""
    text = "\n".join(
        ["native-host/1 request", timestamp, nonce, METHOD, TARGET, hashlib.sha256(BODY).hexdigest()]
    )
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    return f"timestamp={timestamp}, nonce={nonce}, signature={signature}"


def test_what_the_document_says_passes(checker: SignatureChecker) -> None:
    checker.check(credentials(), METHOD, TARGET, BODY)


def test_what_the_function_signs_passes(checker: SignatureChecker) -> None:
    signed = sign(SECRET, METHOD, TARGET, BODY, timestamp=NOW)
    scheme, _, rest = signed.partition(" ")
    assert scheme == SCHEME
    checker.check(rest, METHOD, TARGET, BODY)


def test_members_may_stand_in_any_order(checker: SignatureChecker) -> None:
    checker.check(",".join(reversed(credentials().split(", "))), METHOD, TARGET, BODY)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", TARGET, BODY),
        ("post", TARGET, BODY),
        (METHOD, "/api/v1/chat", BODY),
        (METHOD, "/api/v1/chat?x=2", BODY),
        (METHOD, "/API/v1/chat?x=1", BODY),
        (METHOD, "/api/v1/chat/?x=1", BODY),
        (METHOD, TARGET, b""),
        (METHOD, TARGET, BODY + b" "),
    ],
)
def test_what_was_not_signed_is_refused(
    checker: SignatureChecker, method: str, target: str, body: bytes
) -> None:
    with pytest.raises(SignatureRefused, match="the signature is wrong"):
        checker.check(credentials(), method, target, body)
    checker.check(credentials(), METHOD, TARGET, BODY)  # a refused one does not use the nonce up


def test_lines_cannot_be_shifted_between_members(checker: SignatureChecker) -> None:
    one = signature_of(SECRET, str(NOW), NONCE, "POST", "/a", b"")
    other = signature_of(SECRET, str(NOW), NONCE, "POST\n/a", "", b"")
    assert one != other


def test_another_secret_is_refused(checker: SignatureChecker) -> None:
    with pytest.raises(SignatureRefused, match="the signature is wrong"):
        checker.check(credentials(secret=b"another secret of it"), METHOD, TARGET, BODY)


def test_a_nonce_serves_once(checker: SignatureChecker, clock: Clock) -> None:
    checker.check(credentials(), METHOD, TARGET, BODY)
    for later in (0, 1, 29):
        clock.now = NOW + later
        with pytest.raises(SignatureRefused, match="nonce was used before"):
            checker.check(credentials(), METHOD, TARGET, BODY)


def test_a_nonce_of_the_future_is_kept_as_long_as_its_time(checker: SignatureChecker, clock: Clock) -> None:
    ahead = credentials(timestamp=str(NOW + 30))
    checker.check(ahead, METHOD, TARGET, BODY)
    clock.now = NOW + 60
    with pytest.raises(SignatureRefused, match="nonce was used before"):
        checker.check(ahead, METHOD, TARGET, BODY)


def test_nonces_are_forgotten_once_their_time_is_over(checker: SignatureChecker, clock: Clock) -> None:
    for number in range(100):
        clock.now = NOW + number
        checker.check(credentials(str(NOW + number), f"{number:032x}"), METHOD, TARGET, BODY)
    assert len(checker._seen) < 40


@pytest.mark.parametrize(("apart", "side"), [(-31, "too old"), (31, "too far ahead"), (-100000, "too old")])
def test_other_times_are_refused(checker: SignatureChecker, apart: int, side: str) -> None:
    with pytest.raises(SignatureRefused, match=side):
        checker.check(credentials(str(NOW + apart)), METHOD, TARGET, BODY)


@pytest.mark.parametrize("apart", [-30, 30])
def test_times_at_the_edge_pass(checker: SignatureChecker, apart: int) -> None:
    checker.check(credentials(str(NOW + apart)), METHOD, TARGET, BODY)


def test_what_was_signed_before_the_host_began_is_refused(clock: Clock) -> None:
    began_later = SignatureChecker(SECRET, clock)
    with pytest.raises(SignatureRefused, match="before this host began"):
        began_later.check(credentials(str(NOW - 1)), METHOD, TARGET, BODY)
    began_later.check(credentials(), METHOD, TARGET, BODY)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "timestamp=1",
        credentials() + ", nonce=" + NONCE,
        credentials() + ", extra=1",
        credentials() + ",",
        credentials(timestamp=""),
        credentials(timestamp="-1"),
        credentials(timestamp="1e9"),
        credentials(timestamp="１８００００００００"),
        credentials(timestamp=f"{NOW}.0"),
        credentials(timestamp="9" * 13),
        credentials(nonce="ab"),
        credentials(nonce="AB" * 16),
        credentials(nonce="zz" * 16),
        credentials(nonce="a" * 129),
        credentials().replace("signature=", "signature=0"),
        credentials().replace("timestamp", "Timestamp"),
        credentials().replace(", ", ";"),
    ],
)
def test_what_has_another_form_is_refused(checker: SignatureChecker, wrong: str) -> None:
    with pytest.raises(SignatureRefused):
        checker.check(wrong, METHOD, TARGET, BODY)
