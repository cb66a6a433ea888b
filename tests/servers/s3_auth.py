"""What an S3 server checks of a request before it does anything: signature version 4 in the
header, the digest of the payload, checksums of the body."""

import base64
import binascii
import datetime
import functools
import hashlib
import hmac
import re
import zlib
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW_MAX_S = 15 * 60
AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})")


class Refusal(Exception):
    """A request that is answered with an error: HTTP status, code, message."""

    def __init__(self, status, code, message, extra=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra or {}


# --- signature ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def signing_key(secret, date, region, service):
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_path(path):
    return quote(unquote_to_bytes(path), safe="/-_.~")


def canonical_query(query):
    if not query:
        return ""
    pairs = []
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        pairs.append(tuple(quote(unquote_to_bytes(part.replace("+", " ")), safe="-_.~")
                           for part in (name, value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def canonical_request(request, signed, payload):
    headers = request.headers
    lines = [request.method, canonical_path(request.path), canonical_query(request.query)]
    for name in signed:
        lines.append(f"{name}:{' '.join(headers[name].split())}")
    lines += ["", ";".join(signed), payload]
    return "\n".join(lines)


def parse_date(text):
    try:
        return datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.timezone.utc).timestamp()
    except ValueError:
        raise Refusal(403, "AccessDenied", "no valid x-amz-date") from None


class Verifier:
    """Credentials are dicts: access_key, secret_key, optional session_token and expired."""

    def __init__(self, credentials, region, now):
        self.credentials = {c["access_key"]: c for c in credentials}
        self.region = region
        self.now = now
        self.service = "s3"

    def verify(self, request):
        headers = request.headers
        given = headers.get("authorization")
        if given is None:
            raise Refusal(403, "AccessDenied", "Anonymous access is forbidden for this operation")
        match = AUTHORIZATION.fullmatch(given)
        if not match:
            raise Refusal(400, "AuthorizationHeaderMalformed",
                          "The authorization header is malformed")
        access_key, date, region, service, names, signature = match.groups()
        credential = self.credentials.get(access_key)
        if credential is None:
            raise Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not "
                          "exist in our records.")
        if region != self.region or service != self.service:
            raise Refusal(400, "AuthorizationHeaderMalformed", f"The authorization header is "
                          f"malformed; the scope '{region}/{service}' is wrong; expecting "
                          f"'{self.region}/{self.service}'", {"Region": self.region})
        signed = names.split(";")
        self.check_headers(request, signed, date)
        payload = headers.get("x-amz-content-sha256", "")
        scope = f"{date}/{region}/{service}/aws4_request"
        canonical = canonical_request(request, signed, payload)
        text = "\n".join((ALGORITHM, headers["x-amz-date"], scope,
                          hashlib.sha256(canonical.encode("latin-1")).hexdigest()))
        key = signing_key(credential["secret_key"], date, region, service)
        expected = hmac.digest(key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(expected, signature):
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does "
                          "not match the signature you provided.",
                          {"StringToSign": text, "CanonicalRequest": canonical})
        check_token(headers, credential)

    def check_headers(self, request, signed, date):
        headers = request.headers
        if signed != sorted(set(signed)):
            raise Refusal(403, "SignatureDoesNotMatch", "SignedHeaders are not sorted")
        for name in signed:
            if name not in headers:
                raise Refusal(403, "AccessDenied", f"There was no signed header '{name}'")
        for name in headers:
            # Otherwise somebody on the way could have added them.
            if (name == "host" or name.startswith("x-amz-")) and name not in signed:
                raise Refusal(403, "AccessDenied", "There were headers present in the request "
                              f"which were not signed: {name}")
        stamp = headers.get("x-amz-date", "")
        time = parse_date(stamp)
        if stamp[:8] != date:
            raise Refusal(403, "SignatureDoesNotMatch", "The scope has another date")
        if abs(self.now() - time) > SKEW_MAX_S:
            raise Refusal(403, "RequestTimeTooSkewed", "The difference between the request time "
                          "and the current time is too large.")
        payload = headers.get("x-amz-content-sha256")
        if payload is None:
            raise Refusal(400, "InvalidRequest", "Missing required header for this request: "
                          "x-amz-content-sha256")
        if payload.startswith("STREAMING-"):
            raise Refusal(501, "NotImplemented", "chunked signatures")
        if payload != UNSIGNED and not re.fullmatch(r"[0-9a-f]{64}", payload):
            raise Refusal(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD "
                          "or a valid sha256 value.")


def check_token(headers, credential):
    token = headers.get("x-amz-security-token")
    if credential.get("expired"):
        raise Refusal(400, "ExpiredToken", "The provided token has expired.")
    if token != credential.get("session_token"):
        raise Refusal(403 if token is None else 400, "InvalidToken",
                      "The provided token is malformed or otherwise invalid.")


# --- body -----------------------------------------------------------------------------------------

POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc32c_table()


def crc32c_small(data, crc):
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def multiply(a, b):
    """Product of two polynomials modulo that of CRC-32C; the lowest power is bit 31."""
    product = 0
    for bit in range(31, -1, -1):
        if b >> bit & 1:
            product ^= a
        a = a >> 1 ^ (POLYNOMIAL if a & 1 else 0)
    return product


@functools.lru_cache(maxsize=64)
def power_of_x(bits):
    """x^bits modulo the polynomial."""
    result, base = 1 << 31, 1 << 30
    while bits:
        if bits & 1:
            result = multiply(result, base)
        base = multiply(base, base)
        bits >>= 1
    return result


def crc32c(data):
    """CRC-32C. Long data are folded with big integers: their first half is moved onto the second
    by a multiplication with x^n modulo the polynomial, which is shifts of all bytes at once."""
    data = bytes(data)
    if len(data) < 8192:
        return crc32c_small(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    # The initial value is that the first four bytes are inverted.
    data = bytes(byte ^ 0xFF for byte in data[:4]) + data[4:]
    while len(data) >= 8192:
        front = len(data) // 2 - 4
        first = int.from_bytes(data[:front], "little")
        # x^(bits of the front + 31): the terms of the product begin at the bits of the rest.
        factor = power_of_x(8 * front + 31)
        folded = 0
        for bit in range(32):
            if factor >> bit & 1:
                folded ^= first << bit
        rest = int.from_bytes(data[front:], "little") ^ folded
        data = rest.to_bytes(len(data) - front, "little")
    return crc32c_small(data, 0) ^ 0xFFFFFFFF


def digest(name):
    return lambda body: getattr(hashlib, name)(body).digest()


CHECKSUMS = {
    "x-amz-checksum-sha256": digest("sha256"),
    "x-amz-checksum-sha1": digest("sha1"),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-crc32c": lambda body: crc32c(body).to_bytes(4, "big"),
}


def check_body(request):
    """Compares the body with the digests that came with it. Answers the checksums as a dict."""
    headers = request.headers
    body = request.body
    found = {}
    sha256 = None
    payload = headers.get("x-amz-content-sha256", UNSIGNED)
    if payload != UNSIGNED:
        sha256 = hashlib.sha256(body).digest()
        if sha256.hex() != payload:
            raise Refusal(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' "
                          "header does not match what was computed.")
    if "content-md5" in headers:
        if decode(headers["content-md5"], 16, "Content-MD5") != hashlib.md5(body).digest():
            raise Refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we "
                          "received.")
    for name, function in CHECKSUMS.items():
        if name in headers:
            actual = sha256 if name.endswith("sha256") and sha256 else function(body)
            if decode(headers[name], len(actual), name) != actual:
                raise Refusal(400, "BadDigest", f"The {name} you specified did not match the "
                              "calculated checksum.")
            found[name] = headers[name]
    return found


def decode(text, length, name):
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if len(value) != length:
        raise Refusal(400, "InvalidDigest" if name == "Content-MD5" else "InvalidRequest",
                      f"Value for {name} header is invalid.")
    return value
