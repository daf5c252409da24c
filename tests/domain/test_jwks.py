"""JWK Sets: our own must be good to the last key, another's may hold what it likes."""

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
def made(algorithm: str, number: int = 0):  # another number is another key
    match algorithm:
        case "HS256":
            return OctKey.generate_key(256)
        case "ES256":
            return ECKey.generate_key("P-256")
        case "RS256":
            return RSAKey.generate_key(2048)
    return OKPKey.generate_key("Ed25519")


def jwk(algorithm: str, *, private: bool = True, number: int = 0, **members) -> dict:
    key = made(algorithm, number)
    exported = key.as_dict(private=private or algorithm == "HS256")
    return {**exported, "kid": f"a-{algorithm}-key", "alg": algorithm, **members}


def a_set(*keys: dict) -> str:
    return json.dumps({"keys": keys})


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_algorithm_signs_and_verifies(algorithm):
    (own,) = read_own_set(a_set(jwk(algorithm, iat=NOW, use="sig", something="else")))
    token = mint(own.key, video="x8abcd", issued_at=NOW, ttl=60)
    assert verify(token, Keyring([own.key])).video == "x8abcd"
    if algorithm != "HS256":
        (public,) = read_own_set(a_set(jwk(algorithm, private=False)))
        assert not public.key.can_sign
        assert verify(token, Keyring([public.key])).video == "x8abcd"


def test_the_algorithm_follows_from_the_kind_where_it_is_not_named():
    unnamed = {name: value for name, value in jwk("ES256").items() if name != "alg"}
    assert load_jwk(unnamed).algorithm == "ES256"
    assert load_jwk(jwk("Ed25519", alg="EdDSA")).algorithm == "Ed25519"


@pytest.mark.parametrize(
    ("key", "says"),
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
        (jwk("HS256", k="c2hvcnQ"), "its secret is shorter than 32 bytes"),
        (
            jwk("HS256", k="MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ"),
            "its secret is shorter than",
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
def test_a_key_of_ours_that_cannot_be_used_is_named(key, says):
    with pytest.raises(KeyInvalid) as unusable:
        read_own_set(a_set(jwk("Ed25519"), key))
    assert str(unusable.value).startswith(f"key 2 of the set: {says}")
    assert str(key.get("k")) not in str(unusable.value)


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
def test_what_is_no_set_says_so(text):
    with pytest.raises(KeyInvalid, match=r"not a JWK Set|more than 100 keys"):
        read_own_set(text)
    with pytest.raises(KeyInvalid):
        read_published_set(text, ISSUER)


def test_two_keys_of_ours_have_two_names():
    with pytest.raises(KeyInvalid, match="two keys of the set have the same kid"):
        read_own_set(a_set(jwk("ES256"), jwk("ES256", number=1)))


def test_a_key_of_ours_lapses():
    (own,) = read_own_set(a_set(jwk("ES256", exp=NOW)))
    assert (own.is_in_use(NOW - 1), own.is_in_use(NOW)) == (True, False)
    (own,) = read_own_set(a_set(jwk("ES256")))
    assert own.is_in_use(NOW)


def test_of_an_issuers_set_what_is_good_for_tokens_is_taken():
    published = a_set(
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
    first = made("ES256", 0).as_dict(private=False)["x"]
    assert keys[0].jwk.as_dict(private=False)["x"] == first


def test_what_an_issuer_publishes_by_mistake_is_not_read():
    """A private key is none any more; and to find the primes of a bad one takes minutes."""
    (published,) = read_published_set(a_set(jwk("RS256", kid="private", p="", q="")), ISSUER)
    assert not published.can_sign
    hostile = {**jwk("RS256", private=False, kid="hostile"), "d": "A" * 1000}
    assert [key.kid for key in read_published_set(a_set(hostile), ISSUER)] == ["hostile"]


def key(kid: str, number: int, issuer: str | None = None) -> SigningKey:
    return load_jwk(jwk("ES256", number=number, kid=kid), issuer=issuer)


def verdict(token: str, keyring: Keyring) -> str:
    try:
        return verify(token, keyring).video
    except Refusal as refusal:
        return str(refusal.reason)


def encoded(y: int, sign: int) -> str:
    return urlsafe_b64encode((y | sign << 255).to_bytes(32, "little")).rstrip(b"=").decode()


def points_of_small_order() -> list[int]:
    """Return each y below 2**255 with [8](x, y) = the neutral element, by the curve's own law."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def double(y2: int) -> int:
        """y² of the double of a point, from its y² (twisted Edwards, a = -1)."""
        x2 = (y2 - 1) * pow(d * y2 + 1, -1, p) % p
        return pow((y2 + x2) * pow(1 - d * x2 * y2, -1, p), 2, p)

    order_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
    found = [0, 1, p - 1, order_8, p - order_8]
    for y in found:
        assert double(double(double(y * y % p))) == 1
    assert double(order_8**2 % p) != 1
    return [*found, p, p + 1]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", points_of_small_order())
def test_an_ed25519_point_of_small_order_is_no_key(y, sign):
    """With such a key, one signature verifies for any message (RFC 8032, 8.9)."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encoded(y, sign)}
    with pytest.raises(KeyInvalid, match=r"small order|is not a JWK"):
        load_jwk(jwk)
    assert read_published_set(json.dumps({"keys": [jwk]}), "https://a.example") == ()


@pytest.mark.parametrize("bits", [33, 2047])
def test_an_rsa_exponent_that_makes_verifying_slow_is_no_key(bits):
    def number(value: int) -> str:
        text = urlsafe_b64encode(value.to_bytes(-(-value.bit_length() // 8), "big"))
        return text.rstrip(b"=").decode()

    modulus = made("RS256", 0).as_dict(private=False)["n"]
    slow = {"kty": "RSA", "kid": "a", "n": modulus, "e": number(2**bits - 1)}
    with pytest.raises(KeyInvalid, match=r"RSA exponent|is not a JWK"):
        load_jwk({**slow, "alg": "RS256"})
    assert read_published_set(json.dumps({"keys": [slow]}), "https://a.example") == ()


def test_an_issuers_keys_are_for_its_own_tokens_and_no_others():
    """One name for three different keys: ours, and those of two issuers."""
    ours, theirs, others = key("1", 1), key("1", 2, ISSUER), key("1", 3, "https://other.example")
    keyring = Keyring([ours], {ISSUER: [theirs], "https://other.example": [others]})

    def signed(by: SigningKey, issuer: str | None) -> str:
        number = 1 + [ours, theirs, others].index(by)  # what is published cannot sign
        named = SigningKey(kid="1", algorithm="ES256", jwk=key("1", number).jwk, issuer=issuer)
        return mint(named, video="x8abcd", issued_at=NOW, ttl=60)

    assert verdict(signed(ours, None), keyring) == "x8abcd"
    assert verdict(signed(ours, "https://unknown.example"), keyring) == "x8abcd"
    assert verdict(signed(theirs, ISSUER), keyring) == "x8abcd"
    assert verdict(signed(others, "https://other.example"), keyring) == "x8abcd"
    assert verdict(signed(theirs, None), keyring) == "token-signature"
    assert verdict(signed(ours, ISSUER), keyring) == "token-signature"
    assert verdict(signed(others, ISSUER), keyring) == "token-signature"


def test_a_kid_that_is_not_there_is_told_where_it_was_looked_for():
    keyring = Keyring([key("1", 1), key("2", 2)], {ISSUER: [key("3", 3, ISSUER)]})
    for kid, issuer, says in (
        ("9", None, "no key in tokens.keys"),
        ("9", ISSUER, "no key in its issuer's JWK Set"),
        ("1", ISSUER, "no key in its issuer's JWK Set"),
        (None, None, "no kid in the token, 2 keys in tokens.keys"),
    ):
        with pytest.raises(Refusal, match=f"token-key-unknown: {says}"):
            keyring.find(kid, issuer)
    assert keyring.find(None, ISSUER).kid == "3"
