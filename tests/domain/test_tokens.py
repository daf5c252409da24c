"""Tests of tokens: form, keys, claims, and all published ways to forge a JWT."""

import hashlib
import hmac
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from support import NOW, SECRET, b64, hs256_key, mint, sign_token

from proxy.domain.client_ip import parse_network
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import verify
from proxy.domain.tokens.compact import (
    MAX_TOKEN_LENGTH,
    decode_part,
    read_compact,
    require_single_token,
)
from proxy.domain.tokens.keyring import ALGORITHMS, KeyInvalid, Keyring, load_key

CLAIMS = {"video": "x8abcd", "iat": NOW, "exp": NOW + 300}
HEADER = {"alg": "HS256", "kid": "one", "typ": "JWT"}


def encode_pem(private: object, *, public: bool = False) -> str:
    if public:
        return private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()  # fmt: skip
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
MATERIAL = {
    "HS256": SECRET,
    "ES256": encode_pem(EC),
    "RS256": encode_pem(RSA),
    "Ed25519": encode_pem(ED),
}
KEYRING = Keyring([hs256_key()])


def refusal_reason(token: str, ring: Keyring = KEYRING) -> str:
    with pytest.raises(Refusal) as refused:
        verify(token, ring)
    assert refused.value.reason.status in {401, 403}
    return str(refused.value.reason)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_minted_token_verifies(algorithm):
    key = load_key(kid="k", algorithm=algorithm, material=MATERIAL[algorithm])
    token = mint(key, video="x8abcd", issued_at=NOW, ttl=300, subject="viewer-7",
                 network=parse_network("203.0.113.0/24"), audience="edge")  # fmt: skip

    claims = verify(token, Keyring([key]))

    assert (claims.video, claims.issued_at, claims.expires_at) == ("x8abcd", NOW, NOW + 300)
    assert (claims.subject, claims.audience) == ("viewer-7", ("edge",))
    assert str(claims.network) == "203.0.113.0/24"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "Ed25519"])
def test_a_public_key_verifies_and_does_not_sign(algorithm):
    private = load_key(kid="k", algorithm=algorithm, material=MATERIAL[algorithm])
    loaded = {"ES256": EC, "RS256": RSA, "Ed25519": ED}[algorithm]
    public = load_key(kid="k", algorithm=algorithm, material=encode_pem(loaded, public=True))

    verify(mint(private, video="*", issued_at=NOW, ttl=1), Keyring([public]))
    assert Keyring([public]).signing_key() is None
    assert Keyring([public, private]).signing_key() is private


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64),
    st.integers(0, 2**40),
    st.integers(1, 10**6),
)
def test_verifying_returns_the_signed_claims(video, issued_at, ttl):
    claims = verify(mint(hs256_key(), video=video, issued_at=issued_at, ttl=ttl), KEYRING)

    assert (claims.video, claims.issued_at, claims.expires_at) == (
        video,
        issued_at,
        issued_at + ttl,
    )


@given(st.data())
def test_any_changed_character_makes_a_token_invalid(data):
    token = sign_token(HEADER, CLAIMS)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != token[at]))

    assert refusal_reason(token[:at] + other + token[at + 1 :]).startswith("token-")


@given(st.text(max_size=300))
def test_no_text_raises_anything_but_a_refusal(text):
    assert refusal_reason(text) == "token-malformed"


def test_eddsa_is_the_older_name_of_ed25519():
    key = load_key(kid="k", algorithm="Ed25519", material=encode_pem(ED))
    signing_input = f"{b64({'alg': 'EdDSA', 'kid': 'k'})}.{b64(CLAIMS)}"
    token = f"{signing_input}.{b64(ED.sign(signing_input.encode()))}"

    assert verify(token, Keyring([key])).video == "x8abcd"


# Form


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE"])
@pytest.mark.parametrize("signature", ["", "AA"])
def test_alg_none_is_refused(algorithm, signature):
    token = f"{b64({'alg': algorithm, 'kid': 'one'})}.{b64(CLAIMS)}.{signature}"

    assert refusal_reason(token) == ("token-signature" if signature else "token-malformed")


def test_an_rsa_public_key_is_not_an_hmac_secret():
    """If an RS256 public key were accepted as an HMAC secret, anybody could sign tokens with it."""
    public = encode_pem(RSA, public=True)
    ring = Keyring([load_key(kid="one", algorithm="RS256", material=public)])

    for material in (public, public.strip()):
        assert refusal_reason(sign_token(HEADER, CLAIMS, material), ring) == "token-signature"


def test_an_hmac_key_does_not_verify_rs256():
    key = load_key(kid="one", algorithm="RS256", material=encode_pem(RSA))

    assert refusal_reason(mint(key, video="*", issued_at=NOW, ttl=1)) == "token-signature"


def test_a_hash_other_than_the_keys_is_refused():
    assert (
        refusal_reason(sign_token(HEADER | {"alg": "HS512"}, CLAIMS, digest="sha512"))
        == "token-signature"
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"kid": "two"}, "token-key-unknown"),
        ({"kid": "../../etc/passwd"}, "token-key-unknown"),
        ({"kid": "one\x00"}, "token-key-unknown"),
        ({"kid": ""}, "token-key-unknown"),
        ({"kid": "k" * 129}, "token-malformed"),
        ({"kid": "k" * 10_000}, "token-malformed"),
        ({"kid": 1}, "token-malformed"),
        ({"kid": None}, "token-malformed"),
        ({"kid": ["one"]}, "token-malformed"),
        ({"alg": None}, "token-malformed"),
        ({"alg": ["HS256"]}, "token-malformed"),
        ({"alg": "hs256"}, "token-signature"),
        ({"crit": ["exp"]}, "token-malformed"),
        ({"crit": []}, "token-malformed"),
        ({"crit": ["b64"], "b64": False}, "token-malformed"),
        ({"b64": False}, "token-malformed"),
        ({"b64": 0}, "token-malformed"),
    ],
)
def test_a_header_with_an_unsupported_member_is_refused(header, reason):
    assert refusal_reason(sign_token(HEADER | header, CLAIMS)) == reason


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t", "cty", "anything"])
def test_a_key_in_the_header_is_ignored(name):
    key = {"kty": "oct", "k": b64("x" * 32)}

    verify(sign_token(HEADER | {name: key}, CLAIMS), KEYRING)
    assert refusal_reason(sign_token(HEADER | {name: key}, CLAIMS, "x" * 32)) == "token-signature"


def test_a_token_without_kid_verifies_only_if_there_is_one_key():
    token = sign_token({"alg": "HS256"}, CLAIMS)

    verify(token, KEYRING)
    assert (
        refusal_reason(token, Keyring([hs256_key("one"), hs256_key("two")])) == "token-key-unknown"
    )


def test_the_kid_selects_the_key_and_a_removed_key_is_unknown():
    old, new = hs256_key("old", "o" * 32), hs256_key("new", "n" * 32)
    token = mint(old, video="*", issued_at=NOW, ttl=9)

    verify(token, Keyring([new, old]))
    assert refusal_reason(token, Keyring([new])) == "token-key-unknown"
    assert (
        refusal_reason(
            sign_token({"alg": "HS256", "kid": "new"}, CLAIMS, "o" * 32), Keyring([new, old])
        )
        == "token-signature"
    )


@pytest.mark.parametrize(
    "text",
    [
        b'{"alg":"HS256","alg":"none","kid":"one"}',
        b'{"alg":"HS256","kid":"one","kid":"two"}',
        b'{"alg":"HS256","kid":"one","x":{"a":1,"a":2}}',
        b"[]", b'"HS256"', b"", b"{", b"\xff\xfe", b'{"alg":"HS256"} {}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_a_header_is_one_strict_json_object(text):
    assert refusal_reason(sign_token(text, CLAIMS)) == "token-malformed"


@pytest.mark.parametrize(
    "text",
    [
        '{"video":"x8abcd","iat":1,"exp":2,"exp":99999999999}',
        '{"video":"x8abcd","iat":NaN,"exp":2}',
        '{"video":"x8abcd","iat":1,"exp":Infinity}',
        '{"video":"x8abcd","iat":1,"exp":-Infinity}',
        "[1]", "null", "1" * 3000,
    ],
)  # fmt: skip
def test_a_payload_is_one_strict_json_object(text):
    assert refusal_reason(sign_token(HEADER, text)) == "token-malformed"


def test_deeply_nested_json_is_refused():
    for opening in ("[", '{"a":'):
        assert refusal_reason(sign_token(HEADER, opening * 1400)) == "token-malformed"


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1))
def test_only_canonical_base64url_is_decoded(part):
    try:
        decoded = decode_part(part, "payload")
    except Refusal:
        padded = f"{part}{'=' * (-len(part) % 4)}"
        assert len(part) % 4 == 1 or b64(urlsafe_b64decode(padded)) != part
    else:
        assert b64(decoded) == part


def test_every_part_is_canonical_base64url():
    header, payload, signature = sign_token(HEADER, CLAIMS).split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + last[last.index(signature[-1]) ^ 1]  # differs in the unused bits

    for token in (
        f"{header}.{payload}.{signature}=", f"{header}=.{payload}.{signature}",
        f"{header}.{payload}.{twin}", f" {header}.{payload}.{signature}",
        f"{header}.{payload}.{signature}\n", f"{header}.{payload} .{signature}",
        f"{header}.{payload}.{signature[:-2]}+/", f"{header}.{payload}.{signature}A",
        f"{header}.{payload}", f"{header}.{payload}.", f"{header}..{signature}", "..", "",
        f"{header}.{payload}.{signature}.{signature}", f".{payload}.{signature}",
        f"{header}.{payload}.é{signature[1:]}", f"{header}.{payload}.{signature[:-1]}\x00",
        f"{header}.{payload}.{signature[:-2]}", f"{header}.{payload}.AAAAA",
    ):  # fmt: skip
        assert refusal_reason(token) in {"token-malformed", "token-signature"}, token
    assert refusal_reason(f"{header}.{payload}.{twin}") == "token-malformed"


def test_the_length_is_checked_before_decoding():
    """Five megabytes are refused without a copy, much faster than decoding would take."""
    with pytest.raises(Refusal, match="longer than"):
        read_compact("A" * 5_000_000)
    with pytest.raises(Refusal, match="longer than"):
        read_compact(f"{'A' * 600_000}.e30.AA")
    assert MAX_TOKEN_LENGTH < 600_000


# Claims


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        ("iat", [None, True, 1.5, float(NOW), -1, "1", 10**30, 2**53 + 1, [], {}]),
        ("exp", [None, False, 2.5, float(NOW), -1, "9", 10**30, [], {}]),
        ("nbf", [None, True, 1.5, "0", -1, 10**30]),
        ("video", [None, 1, "", " ", "x\n", "x" * 257, ["x8abcd"], "vidéo"]),
        ("aud", [None, 1, [1], [], {}, [["a"]]]),
        ("iss", [None, 1, "", ["a"]]),
        ("sub", [None, 1, "", "a b", "a\r\nX: y", "é", "x" * 257]),
        ("jti", [None, 1, ""]),
        ("ip", [None, 1, "", "x", "10.0.0.0/33", "fe80::1%eth0", ["10.0.0.1"]]),
        ("fmt", [None, 1, [1], [], {}]),
        ("max_height", [None, 0, -1, 1.5, "360", True, [360], 2**53 + 1]),
        ("max_bandwidth", [None, 0, -1, 1e6, "1", False, {}]),
    ],
)
def test_a_claim_of_the_wrong_type_is_refused(claim, values):
    for value in values:
        assert refusal_reason(sign_token(HEADER, CLAIMS | {claim: value})) == "token-malformed", (
            value
        )


def test_numbers_that_are_not_safe_integers_are_refused():
    for number in ("1e400", "1" * 40, "1" * 2000, "1.0", "1e3"):
        payload = f'{{"video":"x8abcd","iat":{number},"exp":{NOW}}}'
        assert refusal_reason(sign_token(HEADER, payload)) == "token-malformed", number


@pytest.mark.parametrize("claim", ["video", "iat", "exp"])
def test_a_required_claim_that_is_missing_is_named(claim):
    with pytest.raises(Refusal, match=f"the claim {claim} is missing"):
        verify(sign_token(HEADER, {k: v for k, v in CLAIMS.items() if k != claim}), KEYRING)


def test_unknown_claims_are_ignored():
    verify(sign_token(HEADER, CLAIMS | {"role": "x", "deep": {"er": [1]}}), KEYRING)


def test_aud_and_fmt_may_be_a_string_or_a_list():
    for value in ("a", ["a"]):
        claims = verify(sign_token(HEADER, CLAIMS | {"aud": value, "fmt": value}), KEYRING)
        assert (claims.audience, claims.formats) == (("a",), ("a",))


def test_a_key_with_an_issuer_signs_for_that_issuer_only():
    ring = Keyring([hs256_key("one", issuer="https://a.example"), hs256_key("two", "t" * 32)])

    verify(sign_token(HEADER, CLAIMS | {"iss": "https://a.example"}), ring)
    verify(
        sign_token(HEADER | {"kid": "two"}, CLAIMS | {"iss": "https://any.example"}, "t" * 32), ring
    )
    assert (
        refusal_reason(sign_token(HEADER, CLAIMS | {"iss": "https://b.example"}), ring)
        == "token-issuer"
    )
    assert refusal_reason(sign_token(HEADER, CLAIMS), ring) == "token-issuer"


def test_a_key_with_an_issuer_mints_tokens_with_that_issuer():
    key = hs256_key(issuer="https://a.example")

    assert (
        verify(mint(key, video="*", issued_at=NOW, ttl=1), Keyring([key])).issuer
        == "https://a.example"
    )


# Keys


@pytest.mark.parametrize(
    ("algorithm", "material", "message"),
    [
        ("HS256", "x" * 31, "less than 32 bytes"),
        ("HS256", "", "less than 32 bytes"),
        ("HS256", encode_pem(RSA, public=True), "PEM"),
        ("RS256", SECRET, r"not a PEM key \(-----BEGIN …\) for RS256"),
        ("RS256", encode_pem(EC), r"not a PEM key \(-----BEGIN …\) for RS256"),
        ("ES256", encode_pem(RSA), r"not a PEM key \(-----BEGIN …\) for ES256"),
        (
            "ES256",
            encode_pem(ec.generate_private_key(ec.SECP384R1())),
            r"not a PEM key \(-----BEGIN …\) for ES256",
        ),
        ("Ed25519", encode_pem(EC), r"not a PEM key \(-----BEGIN …\) for Ed25519"),
        (
            "Ed25519",
            encode_pem(ed448.Ed448PrivateKey.generate()),
            r"not a PEM key \(-----BEGIN …\) for Ed25519",
        ),
        (
            "RS256",
            encode_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
            "2048 bits",
        ),
    ],
)
def test_a_weak_key_or_a_key_of_another_type_is_refused(algorithm, material, message):
    with pytest.raises(KeyInvalid, match=message) as error:
        load_key(kid="k", algorithm=algorithm, material=material)
    assert not material or material not in str(error.value)


def test_a_signature_of_the_wrong_length_is_an_invalid_signature():
    for algorithm in ALGORITHMS:
        key = load_key(kid="one", algorithm=algorithm, material=MATERIAL[algorithm])
        for signature in (b"x", b"\x00" * 64, b"\xff" * 256):
            token = f"{b64({'alg': algorithm})}.{b64(CLAIMS)}.{b64(signature)}"
            assert refusal_reason(token, Keyring([key])) == "token-signature"


# Carriers


def test_a_request_must_have_exactly_one_distinct_token():
    assert require_single_token(["a", "", "a"]) == "a"
    for tokens, reason in (
        ([], Reason.TOKEN_MISSING),
        ([""], Reason.TOKEN_MISSING),
        (["a", "b"], Reason.TOKEN_CONFLICT),
    ):
        with pytest.raises(Refusal) as refused:
            require_single_token(tokens)
        assert refused.value.reason == reason


def test_the_hmac_of_these_tests_matches_the_rfc_example():
    """RFC 7515, appendix A.1: the fixtures of this file agree with an independent example."""
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    signing_input = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = hmac.digest(urlsafe_b64decode(key + "=="), signing_input.encode(), hashlib.sha256)
    assert b64(signature) == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
