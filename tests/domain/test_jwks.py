"""Tests of JWK Sets: every key of the operator's set must be valid; issuers' sets may have others."""

import json
from base64 import urlsafe_b64encode
from functools import cache

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from support import NOW, mint

from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import verify
from proxy.domain.tokens.jwks import MAX_KEYS, read_own_set, read_published_set
from proxy.domain.tokens.keyring import KeyInvalid, Keyring, SigningKey, load_jwk

ISSUER = "https://login.example.com"
KINDS = ("HS256", "ES256", "RS256", "Ed25519")


@cache
def generate_key(algorithm: str, number: int = 0):  # each number gives another key
    match algorithm:
        case "HS256":
            return OctKey.generate_key(256)
        case "ES256":
            return ECKey.generate_key("P-256")
        case "RS256":
            return RSAKey.generate_key(2048)
    return OKPKey.generate_key("Ed25519")


def jwk(algorithm: str, *, private: bool = True, number: int = 0, **members) -> dict:
    key = generate_key(algorithm, number)
    exported = key.as_dict(private=private or algorithm == "HS256")
    return {**exported, "kid": f"a-{algorithm}-key", "alg": algorithm, **members}


def build_set(*keys: dict) -> str:
    return json.dumps({"keys": keys})


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_algorithm_signs_and_verifies(algorithm):
    (own,) = read_own_set(build_set(jwk(algorithm, iat=NOW, use="sig", something="else")))
    token = mint(own.key, video="x8abcd", issued_at=NOW, ttl=60)
    assert verify(token, Keyring([own.key])).video == "x8abcd"
    if algorithm != "HS256":
        (public,) = read_own_set(build_set(jwk(algorithm, private=False)))
        assert not public.key.can_sign
        assert verify(token, Keyring([public.key])).video == "x8abcd"


def test_a_key_without_alg_gets_the_algorithm_of_its_type():
    unnamed = {name: value for name, value in jwk("ES256").items() if name != "alg"}
    assert load_jwk(unnamed).algorithm == "ES256"
    assert load_jwk(jwk("Ed25519", alg="EdDSA")).algorithm == "Ed25519"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (jwk("HS256", kid=""), "its kid is not a string of 1 to 128 visible characters"),
        (jwk("HS256", kid=None), "its kid is not a string"),
        (jwk("HS256", kid="x" * 129), "its kid is not a string"),
        (jwk("HS256", kid="two words"), "its kid is not a string"),
        (jwk("HS256", kid="\ud800"), "its kid is not a string"),
        (jwk("ES256", x="A" * 1401), "its members are not strings of at most 1400"),
        (
            {k: v for k, v in jwk("RS256").items() if k not in {"p", "q"}},
            "its private RSA key must include the primes p and q",
        ),
        (jwk("HS256", k="c2hvcnQ"), "its secret has less than 32 bytes"),
        (
            jwk("HS256", k="MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ"),
            "its secret has less than",
        ),
        (jwk("HS256", alg="HS512"), "its alg is not HS256"),
        (jwk("ES256", alg="HS256"), "its alg is not ES256"),
        (jwk("ES256", alg=["ES256"]), "its alg is not ES256"),
        (jwk("ES256", crv="P-384"), "its kty and crv are not those of"),
        (jwk("ES256", x="AAAA"), "it is not a JWK for ES256"),
        (jwk("ES256", x=5), "its members are not strings"),
        (jwk("RS256", kty="rsa"), "its kty and crv are not those of"),
        (jwk("ES256", use="enc"), "its use or key_ops does not allow signatures"),
        (jwk("ES256", key_ops=["deriveKey"]), "its use or key_ops does not allow signatures"),
        (jwk("ES256", key_ops="sign"), "its use or key_ops does not allow signatures"),
        (jwk("HS256", exp="soon"), "its exp is not a whole number"),
        (jwk("HS256", exp=True), "its exp is not a whole number"),
    ],
)
def test_an_invalid_key_in_the_operators_set_is_named(key, message):
    with pytest.raises(KeyInvalid) as error:
        read_own_set(build_set(jwk("Ed25519"), key))
    assert str(error.value).startswith(f"key 2 of the set: {message}")
    assert str(key.get("k")) not in str(error.value)


def test_a_short_rsa_key_is_refused():
    with pytest.raises(KeyInvalid, match="fewer than 2048 bits"):
        load_jwk({**SHORT_RSA, "kid": "short"})


SHORT_RSA = {
    "kty": "RSA",
    "n": "wY0tWzrbLDNTUDpHJm2jHSJXGIBPHu5nVRTMsLYhmYtXKF3bFqY2qsNN_jb1Rnb3zXDqUxTnUq0hQmZIbP1J0w",
    "e": "AQAB",
}


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"keys": {}}', '{"keys": [1]}', "[" * 10_000,
     json.dumps({"keys": [{}] * (MAX_KEYS + 1)})],
)  # fmt: skip
def test_a_text_that_is_not_a_jwk_set_is_refused(text):
    with pytest.raises(KeyInvalid, match=r"not a JWK Set|more than 100 keys"):
        read_own_set(text)
    with pytest.raises(KeyInvalid):
        read_published_set(text, ISSUER)


def test_duplicate_kids_in_the_operators_set_are_refused():
    with pytest.raises(KeyInvalid, match="two keys of the set have the same kid"):
        read_own_set(build_set(jwk("ES256"), jwk("ES256", number=1)))


def test_a_key_with_exp_expires():
    (own,) = read_own_set(build_set(jwk("ES256", exp=NOW)))
    assert (own.is_in_use(NOW - 1), own.is_in_use(NOW)) == (True, False)
    (own,) = read_own_set(build_set(jwk("ES256")))
    assert own.is_in_use(NOW)


def test_only_keys_that_verify_tokens_are_read_from_an_issuers_set():
    published = build_set(
        jwk("RS256", private=False, use="enc", kid="encryption"),
        {"kty": "EC", "crv": "secp256k1", "kid": "unknown"},
        {"kty": "RSA"},
        {},
        jwk("HS256", kid="no-secret-any-more"),
        jwk("ES256", private=False, kid="good"),
        jwk("ES256", private=False, number=1, kid="good"),
        jwk("Ed25519", private=False),
    )
    keys = read_published_set(published, ISSUER)
    assert [(key.kid, key.issuer) for key in keys] == [("good", ISSUER), ("a-Ed25519-key", ISSUER)]
    first = generate_key("ES256", 0).as_dict(private=False)["x"]
    assert keys[0].jwk.as_dict(private=False)["x"] == first


def test_private_members_of_a_published_key_are_ignored():
    """A published private key is not secret, and finding the primes of a bad key takes minutes."""
    (published,) = read_published_set(build_set(jwk("RS256", kid="private", p="", q="")), ISSUER)
    assert not published.can_sign
    hostile = {**jwk("RS256", private=False, kid="hostile"), "d": "A" * 1000}
    assert [key.kid for key in read_published_set(build_set(hostile), ISSUER)] == ["hostile"]


def key(kid: str, number: int, issuer: str | None = None) -> SigningKey:
    return load_jwk(jwk("ES256", number=number, kid=kid), issuer=issuer)


def verify_or_reason(token: str, keyring: Keyring) -> str:
    try:
        return verify(token, keyring).video
    except Refusal as refusal:
        return str(refusal.reason)


def encode_point(y: int, sign: int) -> str:
    return urlsafe_b64encode((y | sign << 255).to_bytes(32, "little")).rstrip(b"=").decode()


def list_small_order_points() -> list[int]:
    """Return each y below 2**255 with [8](x, y) = neutral element, computed with the curve equation."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def double(y2: int) -> int:
        """Return y² of the double of a point from y² of the point (twisted Edwards, a = -1)."""
        x2 = (y2 - 1) * pow(d * y2 + 1, -1, p) % p
        return pow((y2 + x2) * pow(1 - d * x2 * y2, -1, p), 2, p)

    order_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
    found = [0, 1, p - 1, order_8, p - order_8]
    for y in found:
        assert double(double(double(y * y % p))) == 1
    assert double(order_8**2 % p) != 1
    return [*found, p, p + 1]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", list_small_order_points())
def test_an_ed25519_key_of_small_order_is_refused(y, sign):
    """With such a key, a single signature verifies for any message (RFC 8032, 8.9)."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encode_point(y, sign)}
    with pytest.raises(KeyInvalid, match=r"small order|is not a JWK"):
        load_jwk(jwk)
    assert read_published_set(json.dumps({"keys": [jwk]}), "https://a.example") == ()


@pytest.mark.parametrize("bits", [33, 2047])
def test_an_rsa_key_with_a_large_exponent_is_refused(bits):
    def number(value: int) -> str:
        text = urlsafe_b64encode(value.to_bytes(-(-value.bit_length() // 8), "big"))
        return text.rstrip(b"=").decode()

    modulus = generate_key("RS256", 0).as_dict(private=False)["n"]
    slow = {"kty": "RSA", "kid": "a", "n": modulus, "e": number(2**bits - 1)}
    with pytest.raises(KeyInvalid, match=r"RSA exponent|is not a JWK"):
        load_jwk({**slow, "alg": "RS256"})
    assert read_published_set(json.dumps({"keys": [slow]}), "https://a.example") == ()


def test_an_issuers_keys_verify_only_that_issuers_tokens():
    """Three different keys have the same kid: the operator's key, and the keys of two issuers."""
    own, published, other = key("1", 1), key("1", 2, ISSUER), key("1", 3, "https://other.example")
    keyring = Keyring([own], {ISSUER: [published], "https://other.example": [other]})

    def sign_with(by: SigningKey, issuer: str | None) -> str:
        number = 1 + [own, published, other].index(by)  # a published key cannot sign
        named = SigningKey(kid="1", algorithm="ES256", jwk=key("1", number).jwk, issuer=issuer)
        return mint(named, video="x8abcd", issued_at=NOW, ttl=60)

    assert verify_or_reason(sign_with(own, None), keyring) == "x8abcd"
    assert verify_or_reason(sign_with(own, "https://unknown.example"), keyring) == "x8abcd"
    assert verify_or_reason(sign_with(published, ISSUER), keyring) == "x8abcd"
    assert verify_or_reason(sign_with(other, "https://other.example"), keyring) == "x8abcd"
    assert verify_or_reason(sign_with(published, None), keyring) == "token-signature"
    assert verify_or_reason(sign_with(own, ISSUER), keyring) == "token-signature"
    assert verify_or_reason(sign_with(other, ISSUER), keyring) == "token-signature"


def test_the_refusal_of_an_unknown_kid_names_the_key_source():
    keyring = Keyring([key("1", 1), key("2", 2)], {ISSUER: [key("3", 3, ISSUER)]})
    for kid, issuer, detail in (
        ("9", None, "no key in tokens.keys"),
        ("9", ISSUER, "no key in the issuer's JWK Set"),
        ("1", ISSUER, "no key in the issuer's JWK Set"),
        (None, None, "the token has no kid, which requires a single key; tokens.keys"),
    ):
        with pytest.raises(Refusal, match=f"token-key-unknown: {detail}"):
            keyring.find(kid, issuer)
    assert keyring.find(None, ISSUER).kid == "3"
