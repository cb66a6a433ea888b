"""The control interface of the test servers: requests below /_control/, without a signature.

  POST   /_control/faults      a rule or a list of rules (faults.py) is added; answers their ids
  PUT    /_control/faults      the same in place of all rules
  GET    /_control/faults      the rules with how often they were met and used
  DELETE /_control/faults      no more faults
  GET    /_control/log         the requests so far as JSON lines
  DELETE /_control/log         forgets them (their numbers go on)
  GET    /_control/counts      sums over them, one "name value" a line; see counts()
  GET    /_control/held        answers when ?count=N requests (1) are held
  POST   /_control/release     lets the first ?count=N of them (all) go on
  POST   /_control/settings    delay_ms, record_headers, and those of the application
  PUT    /_control/object      ?bucket=&key=: the body is put there without a request being counted
  GET    /_control/object      what is there
  PUT    /_control/bucket      ?bucket=: all that is in there from now on, {"key": "base64", ...}
  GET    /_control/bucket      ?bucket=: {"key": "etag", ...}
  POST   /_control/copy        ?bucket=&from=&to=: below the prefix `to` is then what is below
                               `from`, and nothing else

The log and the counts take ?since=N (numbers above N), operation, key, method, bucket (patterns),
status (a number).
"""

import base64
import fnmatch
import json
import urllib.parse

import round_trips

PREFIX = "/_control/"
SUMS = ("bytes_in", "bytes_out")


class Refused(Exception):
    pass


def answer(server, connection, request):
    reply = server.reply_class
    query = dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
    name = request.path[len(PREFIX):]

    def send(body=b"", status=200):
        if not connection.closed:
            connection.send(reply(status, {"Content-Type": "text/plain; charset=utf-8"}, body),
                            connection.next_request)

    function = ROUTES.get((request.method, name))
    if function is None:
        send(f"no {request.method} {request.path}\n".encode(), 404)
        return
    try:
        function(server, request, query, send)
    except (ValueError, KeyError, TypeError, AttributeError, Refused) as error:
        send(f"{request.method} {request.path}: {error}\n".encode(), 400)


def chosen(log, query):
    """Entries of a log that fit a query."""
    since = int(query.get("since", 0))
    entries = [e for e in log if e["number"] > since]
    for name in ("operation", "key", "method", "bucket"):
        if name in query:
            entries = [e for e in entries if fnmatch.fnmatchcase(e[name], query[name])]
    if "status" in query:
        entries = [e for e in entries if e["status"] == int(query["status"])]
    return entries


def counts(entries):
    """requests, round_trips, last (number), bytes_in, bytes_out, connections, faults, and
    method.GET, operation.get_object, status.200, fault.delay, ... for what there was."""
    sums = {"requests": len(entries), "round_trips": round_trips.count(entries),
            "last": max((e["number"] for e in entries), default=0),
            "connections": len({e["connection"] for e in entries}),
            "faults": sum(e["fault"] is not None for e in entries)}
    for name in SUMS:
        sums[name] = sum(e[name] for e in entries)
    for member in ("method", "operation", "status", "fault"):
        for entry in entries:
            if entry[member] is not None:
                name = f"{member}.{entry[member]}"
                sums[name] = sums.get(name, 0) + 1
    return sums


def add_faults(server, request, _, send):
    send(json.dumps(server.faults.add(json.loads(bytes(request.body)))).encode())


def replace_faults(server, request, query, send):
    rules, server.faults.rules = server.faults.rules, []
    try:
        add_faults(server, request, query, send)
    except Exception:
        server.faults.rules = rules
        raise


def tell_faults(server, _, __, send):
    send(json.dumps(server.faults.tell()).encode())


def clear_faults(server, _, __, send):
    server.faults.clear()
    send()


def tell_log(server, _, query, send):
    send("".join(json.dumps(e) + "\n" for e in chosen(server.log, query)).encode())


def clear_log(server, _, __, send):
    server.log.clear()
    send()


def tell_counts(server, _, query, send):
    sums = counts(chosen(server.log, query))
    send("".join(f"{name} {value}\n" for name, value in sums.items()).encode())


def wait_held(server, _, query, send):
    count = int(query.get("count", 1))
    if len(server.held) >= count:
        send(b"%d\n" % len(server.held))
    else:
        server.hold_waiters.append((count, lambda: send(b"%d\n" % len(server.held))))


def release(server, _, query, send):
    send(b"%d\n" % server.release(int(query.get("count", len(server.held)))))


def settings(server, request, _, send):
    members = json.loads(bytes(request.body))
    if "delay_ms" in members:
        server.delay = members.pop("delay_ms") / 1000
    if "record_headers" in members:
        server.record_headers = bool(members.pop("record_headers"))
    server.application.configure(members)
    send()


def put_object(server, request, query, send):
    server.application.change(query["bucket"], query["key"], bytes(request.body), False)
    send()


def get_object(server, _, query, send):
    body = server.application.content(query["bucket"], query["key"])
    if body is None:
        send(b"no such object\n", 404)
    else:
        send(body)


def put_bucket(server, request, query, send):
    objects = json.loads(bytes(request.body))
    server.application.fill(query["bucket"], {key: base64.b64decode(text)
                                              for key, text in objects.items()})
    send()


def get_bucket(server, _, query, send):
    send(json.dumps(server.application.tags(query["bucket"])).encode())


def copy_objects(server, _, query, send):
    send(b"%d\n" % server.application.copy(query["bucket"], query["from"], query["to"]))


ROUTES = {
    ("POST", "faults"): add_faults,
    ("PUT", "faults"): replace_faults,
    ("GET", "faults"): tell_faults,
    ("DELETE", "faults"): clear_faults,
    ("GET", "log"): tell_log,
    ("DELETE", "log"): clear_log,
    ("GET", "counts"): tell_counts,
    ("GET", "held"): wait_held,
    ("POST", "release"): release,
    ("POST", "settings"): settings,
    ("PUT", "object"): put_object,
    ("GET", "object"): get_object,
    ("PUT", "bucket"): put_bucket,
    ("GET", "bucket"): get_bucket,
    ("POST", "copy"): copy_objects,
}
