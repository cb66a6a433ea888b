"""Scripted faults: which requests are spoilt, and how.

A script is a list of rules. A rule is a JSON object; what is not written matches everything:

  which requests
    method      "GET", or a list of methods
    operation   "get_object", ... (the names of s3_server.py), a pattern
    bucket, key, query, range    patterns as in a shell: * ? [...]
    from, to    the how-manieth request that fits the above, from 1; both included
    number_from, number_to    the same, counted over all requests of the server
    every       only each n-th of those
    percent     only so many of a hundred, chosen by a generator started with "seed" (1)
    times       for so many requests, then never again; without it for ever

  what happens to them: "kind", and its own members
    status      answers "status" (503) with "code", "message", "retry_after", "location", "region"
    delay       "ms" later; adds to other faults
    slow        the body at "bytes_per_second"; adds to other faults
    cut         closes the connection after "after" (0) bytes of the body
    short, long the body lacks the last "bytes" (1), or has so many more; the headers agree
    corrupt     one bit of the body, at the byte "at_byte" (0), is turned
    full        200 with the whole object where a range was asked for
    range_shift the range that begins "bytes" (1) later, and says so
    content_range    the header Content-Range is "value"; null takes it away
    multipart   206 with multipart/byteranges
    gzip        the body compressed, with Content-Encoding
    header      headers "set" (an object) and "remove" (a list) of the reply
    body        answers "status" (200), "headers" and the text "body", or "base64"
    garbage     a status line that is none
    huge_headers     headers of "bytes" (1048576) altogether
    drop        closes the connection without a reply
    reset       resets the connection
    hang        never answers
    hold        waits for POST /_control/release
    change      puts "body" into the place of the object first (without it: one bit turned), or
                deletes it with "delete": true; "target" is another key than the request's
    error_200   a 200 whose body is an error "code"
    delete_errors    DeleteObjects answers "code" for keys that fit "keys" and leaves them

  "applied": true    the request is carried out all the same: before a status, drop or reset, and
                     before the wait of a delay, hold or hang. Without it a delay and a hold are
                     carried out after the wait, a status, drop, reset or hang never.
  "at": "head"       a status, drop or reset as soon as the headers are there, before the body

Of the rules that fit, the first one that is not a delay or slow wins; only what was applied counts
for "times".
"""

import base64
import fnmatch
import gzip
import random
import re

MATCHERS = ("method", "operation", "bucket", "key", "query", "range")
COMMON = {*MATCHERS, "from", "to", "number_from", "number_to", "every", "percent", "seed", "times",
          "kind", "applied", "at"}
MEMBERS = {
    "status": "status code message retry_after location region",
    "delay": "ms",
    "slow": "bytes_per_second",
    "cut": "after",
    "short": "bytes",
    "long": "bytes",
    "corrupt": "at_byte",
    "full": "",
    "range_shift": "bytes",
    "content_range": "value",
    "multipart": "",
    "gzip": "",
    "header": "set remove",
    "body": "status headers body base64",
    "garbage": "",
    "huge_headers": "bytes",
    "drop": "",
    "reset": "",
    "hang": "",
    "hold": "",
    "change": "body delete target",
    "error_200": "code message",
    "delete_errors": "keys code message",
}
CODES = {
    301: "PermanentRedirect", 307: "TemporaryRedirect", 400: "ExpiredToken", 403: "AccessDenied",
    404: "NoSuchKey", 409: "ConditionalRequestConflict", 412: "PreconditionFailed",
    416: "InvalidRange", 429: "TooManyRequests", 500: "InternalError", 501: "NotImplemented",
    502: "BadGateway", 503: "SlowDown", 504: "GatewayTimeout",
}
SLICE_S = 0.02


class Rule:
    def __init__(self, number, spec):
        kind = spec.get("kind")
        if kind not in MEMBERS:
            raise ValueError(f'no kind of fault "{kind}"; kinds: {" ".join(MEMBERS)}')
        unknown = set(spec) - COMMON - set(MEMBERS[kind].split())
        if unknown:
            raise ValueError(f'a {kind} has no member "{sorted(unknown)[0]}"')
        if spec.get("at", "body") not in ("head", "body"):
            raise ValueError('"at" is "head" or "body"')
        self.number = number
        self.kind = kind
        self.spec = spec
        self.applied = bool(spec.get("applied", False))
        self.at_head = spec.get("at") == "head"
        self.patterns = []
        for name in MATCHERS:
            if name in spec:
                texts = spec[name] if isinstance(spec[name], list) else [spec[name]]
                regex = "|".join(fnmatch.translate(text) for text in texts)
                self.patterns.append((name, re.compile(regex)))
        self.first = spec.get("from", 1)
        self.last = spec.get("to", float("inf"))
        self.number_first = spec.get("number_from", 1)
        self.number_last = spec.get("number_to", float("inf"))
        self.every = spec.get("every", 1)
        self.percent = spec.get("percent", 100)
        self.random = random.Random(spec.get("seed", 1))
        self.times = spec.get("times", float("inf"))
        self.seen = 0
        self.used = 0

    def fits(self, request):
        for name, pattern in self.patterns:
            if not pattern.match(getattr(request, name) or ""):
                return False
        self.seen += 1
        if not (self.first <= self.seen <= self.last
                and self.number_first <= request.number <= self.number_last):
            return False
        if (self.seen - self.first) % self.every:
            return False
        return self.percent >= 100 or self.random.random() * 100 < self.percent

    def get(self, name, default=None):
        return self.spec.get(name, default)


class Plan:
    """What happens to one request."""

    __slots__ = ("rule", "delay", "rate", "kinds", "early")

    def __init__(self):
        self.rule = None
        self.delay = 0.0
        self.rate = None
        self.kinds = []
        self.early = False  # carried out before the wait

    @property
    def kind(self):
        return "+".join(self.kinds)

    @property
    def at_head(self):
        return self.rule is not None and self.rule.at_head


class Script:
    def __init__(self):
        self.rules = []
        self.added = 0

    def add(self, specs):
        if not isinstance(specs, list):
            specs = [specs]
        rules = []
        for spec in specs:
            rules.append(Rule(self.added + len(rules) + 1, spec))
        self.added += len(rules)
        self.rules += rules
        return [rule.number for rule in rules]

    def clear(self):
        self.rules = []

    def tell(self):
        return [{"id": rule.number, "seen": rule.seen, "used": rule.used, "rule": rule.spec}
                for rule in self.rules]

    def match(self, request):
        """The plan for a request, or None."""
        if not self.rules:
            return None
        plan = Plan()
        for rule in self.rules:
            if rule.used >= rule.times or not rule.fits(request):
                continue
            if rule.kind == "delay":
                plan.delay += rule.get("ms", 0) / 1000
                plan.early = plan.early or rule.applied
            elif rule.kind == "slow":
                plan.rate = rule.get("bytes_per_second", 1024)
            elif plan.rule is None:
                plan.rule = rule
            else:
                continue
            rule.used += 1
            plan.kinds.append(rule.kind)
        return plan if plan.kinds else None


# --- what is done ---------------------------------------------------------------------------------


def answer_at_head(server, connection, request):
    finish(server, connection, request, None)


def run(server, connection, request, delay):
    """Carries out a plan; `delay` is the one that every request has."""
    plan = request.fault
    rule = plan.rule
    kind = rule.kind if rule else ""
    reply = None
    if plan.early or (kind in ("hang", "hold") and rule.applied):
        reply = server.application.answer(request)
    if kind == "hang":
        return

    def proceed():
        if delay + plan.delay > 0:
            server.call_later(delay + plan.delay,
                              lambda: finish(server, connection, request, reply))
        else:
            finish(server, connection, request, reply)

    if kind == "hold":
        server.hold(request, proceed)
    else:
        proceed()


def finish(server, connection, request, reply):
    rule = request.fault.rule
    kind = rule.kind if rule else ""
    if kind in ENDINGS:
        if rule.applied and reply is None:
            server.application.answer(request)
        if not connection.closed:
            ENDINGS[kind](server, connection, request, rule)
        return
    if kind in BEFORE:
        BEFORE[kind](server, request, rule)
    if reply is None:
        reply = server.application.answer(request)
    if kind in SPOILERS:
        SPOILERS[kind](server, request, rule, reply)
    if connection.closed:
        return
    if kind == "cut":
        cut(server, connection, request, reply, rule.get("after", 0))
    elif request.fault.rate:
        trickle(server, connection, request, reply, request.fault.rate)
    else:
        server.finish(connection, request, reply)


def end_status(server, connection, request, rule):
    status = rule.get("status", 503)
    code = rule.get("code", CODES.get(status, "InternalError"))
    reply = server.application.error(status, code, rule.get("message", "scripted"), request)
    for member, header in (("retry_after", "Retry-After"), ("location", "Location"),
                           ("region", "x-amz-bucket-region")):
        if rule.get(member) is not None:
            reply.headers[header] = rule.get(member)
    server.finish(connection, request, reply)


def end_body(server, connection, request, rule):
    data = rule.get("base64")
    body = base64.b64decode(data) if data is not None else rule.get("body", "").encode()
    reply = server.application.error(rule.get("status", 200), "", "", request)
    reply.headers = {"Content-Type": "application/xml", **rule.get("headers", {})}
    reply.body = body
    server.finish(connection, request, reply)


def end_error_200(server, connection, request, rule):
    reply = server.application.error(200, rule.get("code", "InternalError"),
                                     rule.get("message", "scripted"), request)
    server.finish(connection, request, reply)


def end_drop(server, connection, request, _):
    server.write_log(request, 0, 0)
    connection.close_quietly()


def end_reset(server, connection, request, _):
    server.write_log(request, 0, 0)
    connection.reset()


def end_garbage(server, connection, request, _):
    connection.keep = False
    connection.send_raw(b"\x00\x01 this is not HTTP\r\n\r\n" * 3,
                        lambda: server.finished(connection, request, 0, 0))


def end_huge_headers(server, connection, request, rule):
    lines = [b"HTTP/1.1 200 OK\r\n"]
    left = rule.get("bytes", 1 << 20)
    while left > 0:
        lines.append(b"x-filler-%d: " % left + b"f" * min(left, 8000) + b"\r\n")
        left -= len(lines[-1])
    lines.append(b"Content-Length: 0\r\n\r\n")
    connection.keep = False
    connection.send_raw(b"".join(lines), lambda: server.finished(connection, request, 200, 0))


ENDINGS = {"status": end_status, "body": end_body, "error_200": end_error_200, "drop": end_drop,
           "reset": end_reset, "garbage": end_garbage, "huge_headers": end_huge_headers}


def before_change(server, request, rule):
    body = rule.get("body")
    server.application.change(request.bucket, rule.get("target", request.key),
                              None if body is None else body.encode(), rule.get("delete", False))


def before_full(_, request, __):
    request.range = None


def before_range_shift(_, request, rule):
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range or "")
    if match:
        shift = rule.get("bytes", 1)
        last = str(int(match.group(2)) + shift) if match.group(2) else ""
        request.range = f"bytes={int(match.group(1)) + shift}-{last}"


def before_delete_errors(server, request, rule):
    pattern = re.compile(fnmatch.translate(rule.get("keys", "*")))
    request.names = (pattern, rule.get("code", "InternalError"), rule.get("message", "scripted"))


BEFORE = {"change": before_change, "full": before_full, "range_shift": before_range_shift,
          "delete_errors": before_delete_errors}


def spoil_short(_, __, rule, reply):
    reply.body = reply.body[:max(0, len(reply.body) - rule.get("bytes", 1))]


def spoil_long(_, __, rule, reply):
    reply.body = bytes(reply.body) + b"\0" * rule.get("bytes", 1)


def spoil_corrupt(_, __, rule, reply):
    body = bytearray(reply.body)
    if body:
        body[rule.get("at_byte", 0) % len(body)] ^= 1
    reply.body = body


def spoil_content_range(_, __, rule, reply):
    reply.headers["Content-Range"] = rule.get("value")


def spoil_multipart(_, __, ___, reply):
    part = (f"--part\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Range: {reply.headers.pop('Content-Range', 'bytes 0-0/1')}\r\n\r\n")
    reply.body = part.encode() + bytes(reply.body) + b"\r\n--part--\r\n"
    reply.headers["Content-Type"] = "multipart/byteranges; boundary=part"
    reply.status = 206


def spoil_gzip(_, __, ___, reply):
    reply.body = gzip.compress(bytes(reply.body), 1)
    reply.headers["Content-Encoding"] = "gzip"


def spoil_header(_, __, rule, reply):
    for name in rule.get("remove", []):
        for known in [n for n in reply.headers if n.lower() == name.lower()]:
            del reply.headers[known]
    for name, value in rule.get("set", {}).items():
        for known in [n for n in reply.headers if n.lower() == name.lower()]:
            del reply.headers[known]
        reply.headers[name] = value


SPOILERS = {"short": spoil_short, "long": spoil_long, "corrupt": spoil_corrupt,
            "content_range": spoil_content_range, "multipart": spoil_multipart,
            "gzip": spoil_gzip, "header": spoil_header}


def head_of(server, connection, request, reply):
    """The bytes of the head of a reply, and the view of its body."""
    view = memoryview(b"" if request.method == "HEAD" else reply.body)
    reply.headers.setdefault("Content-Length", len(reply.body))
    return server.render(reply, connection.keep), view


def cut(server, connection, request, reply, after):
    head, view = head_of(server, connection, request, reply)
    part = bytes(view[:after])
    connection.keep = False
    connection.send_raw(head + part,
                        lambda: server.finished(connection, request, reply.status, len(part)))


def trickle(server, connection, request, reply, rate):
    """Sends the body in slices, so that so many bytes a second go out."""
    head, view = head_of(server, connection, request, reply)
    size = max(1, int(rate * SLICE_S))

    def send(at):
        if connection.closed:
            return
        if at >= len(view):
            server.finished(connection, request, reply.status, len(view))
            return
        piece = view[at:at + size]
        connection.send_raw(bytes(piece), lambda: server.call_later(
            len(piece) / rate, lambda: send(at + size)))

    connection.send_raw(head, lambda: send(0))
