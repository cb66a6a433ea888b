"""A small HTTP/1.1 server for tests: one thread, epoll, keep-alive, replies that can be spoilt.

What is answered comes from an application (see s3_server.py and credentials_server.py):

    answer(request) -> Reply          does what is asked
    refuse(request) -> Reply or None  looks at the signature, before any scripted fault
    describe(request)                 sets request.operation, .bucket and .key
    configure(settings) -> None       takes settings of the control interface

Requests below /_control/ go to control.py, are not counted and never spoilt. All others are
numbered from 1, matched against the scripted faults (faults.py), delayed, answered and logged. The
thread reads from no connection between the moment a reply is handed to the kernel and the moment
its end is logged, so a request that was made because of a reply always begins after its end.
"""

import collections
import ctypes
import heapq
import json
import os
import select
import signal
import socket
import ssl
import struct
import sys
import time
from email.utils import formatdate

import certificates
import control
import faults

HEAD_MAX = 64 * 1024
BODY_MAX = 6 * 1024 * 1024 * 1024
RECEIVE = 256 * 1024
JOIN_MAX = 64 * 1024
READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP
LATER = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content",
    301: "Moved Permanently", 302: "Found", 304: "Not Modified", 307: "Temporary Redirect",
    308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
    416: "Range Not Satisfiable", 429: "Too Many Requests", 431: "Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}


class Reply:
    """A status, headers and a body (bytes or a view). Content-Length is added when missing."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, status, headers=None, body=b""):
        self.status = status
        self.headers = headers if headers is not None else {}
        self.body = body


class Request:
    __slots__ = ("number", "method", "target", "path", "query", "headers", "body", "begin",
                 "operation", "bucket", "key", "range", "connection", "fault", "names")

    def __init__(self, connection, method, target, headers, begin):
        self.number = 0
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = b""
        self.begin = begin
        self.operation = ""
        self.bucket = ""
        self.key = ""
        self.range = headers.get("range")
        self.connection = connection
        self.fault = None
        self.names = None


class BadRequest(Exception):
    pass


def parse_head(head):
    """(method, target, version, headers) of the lines before the empty line; names in lower case,
    values of repeated headers joined by commas."""
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise BadRequest("not a request line") from None
    if version not in ("HTTP/1.1", "HTTP/1.0") or not target:
        raise BadRequest("not a request line")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("not a header line")
        name = name.lower()
        value = value.strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return method, target, version, headers


class Connection:
    """One socket: reads a request, waits for its reply, sends it, reads the next one."""

    def __init__(self, server, sock, number, is_tls):
        self.server = server
        self.is_tls = is_tls
        self.sock = sock
        self.number = number
        self.input = bytearray()
        self.begin = None
        self.request = None     # being read or answered
        self.body = None        # of the request, while it is being read
        self.body_view = None
        self.body_have = 0
        self.output = collections.deque()
        self.after = None       # what to do when all output was sent
        self.mask = READABLE
        self.keep = True
        self.unread = False     # the client may still be sending what nobody wants
        self.draining = False
        self.closed = False

    # --- reading ---

    def readable(self):
        try:
            if self.draining:
                got = len(self.sock.recv(RECEIVE))
                if got:
                    return
            elif self.body is not None:
                got = self.sock.recv_into(self.body_view[self.body_have:])
                self.body_have += got
            else:
                data = self.sock.recv(RECEIVE)
                got = len(data)
                if got and self.begin is None:
                    self.begin = time.monotonic()
                self.input += data
        except LATER:
            return
        except OSError:
            got = 0
        if got == 0:
            self.server.lost(self)
            return
        self.advance()

    def advance(self):
        """Goes on with what was read."""
        if self.body is not None:
            if self.body_have == len(self.body):
                self.request.body = self.body
                self.body = self.body_view = None
                self.server.complete(self, self.request)
            return
        if self.request is not None:
            return  # an answer is being given; what was read belongs to the next request
        end = self.input.find(b"\r\n\r\n")
        if end < 0:
            if len(self.input) > HEAD_MAX:
                self.give_up(431)
            return
        head = bytes(self.input[:end])
        del self.input[:end + 4]
        try:
            method, target, version, headers = parse_head(head)
        except BadRequest:
            self.give_up(400)
            return
        self.keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        request = self.request = Request(self, method, target, headers, self.begin)
        if "transfer-encoding" in headers:
            self.give_up(411)
            return
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > BODY_MAX:
            self.give_up(400)
            return
        length = int(length)
        if self.server.head_complete(self, request):
            return  # answered already
        if length == 0:
            self.server.complete(self, request)
            return
        if headers.get("expect", "").lower() == "100-continue" and not self.input:
            self.output.append(memoryview(b"HTTP/1.1 100 Continue\r\n\r\n"))
            self.flush()
        self.body = bytearray(length)
        self.body_view = memoryview(self.body)
        self.body_have = min(length, len(self.input))
        self.body_view[:self.body_have] = self.input[:self.body_have]
        del self.input[:self.body_have]
        if self.body_have == length:
            self.advance()

    def give_up(self, status):
        """Answers and closes: what follows in the stream cannot be understood."""
        self.keep = False
        self.body = self.body_view = None
        self.send(Reply(status), self.drain)

    # --- writing ---

    def send(self, reply, after):
        """Sends a reply, then calls after()."""
        self.after = after
        head, body = render(reply, self.keep)
        if len(body) <= JOIN_MAX:
            self.output.append(memoryview(head + bytes(body)))
        else:
            self.output.append(memoryview(head))
            self.output.append(memoryview(body))
        self.flush()

    def send_raw(self, data, after):
        self.after = after
        if data:
            self.output.append(memoryview(data))
        self.flush()

    def flush(self):
        if self.closed:
            return
        output = self.output
        try:
            while output:
                sent = self.sock.send(output[0])
                if sent == len(output[0]):
                    output.popleft()
                else:
                    output[0] = output[0][sent:]
        except LATER:
            self.watch(READABLE | WRITABLE if self.body is not None else WRITABLE)
            return
        except OSError:
            self.server.lost(self)
            return
        self.watch(READABLE)
        after, self.after = self.after, None
        if after:
            after()

    def watch(self, mask):
        if mask != self.mask and not self.closed:
            self.mask = mask
            self.server.poll.modify(self.sock.fileno(), mask)

    def next_request(self):
        """The reply is out: on to what the client sent meanwhile, or will send."""
        self.request = None
        self.begin = None
        if self.unread:
            self.drain()
        elif not self.keep:
            self.close_quietly()
        elif self.input:
            self.begin = time.monotonic()
            self.advance()

    def drain(self):
        """Says that nothing more comes, and reads until the client closes: closing while it still
        sends would reset the connection and could destroy the reply."""
        self.request = None
        self.draining = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close_quietly()

    def close_quietly(self):
        self.server.forget(self)

    def reset(self):
        """Closes in a way that the peer sees as a reset."""
        if not self.closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.forget(self)


def render(reply, keep):
    """The head as bytes, and the body."""
    headers = reply.headers
    body = reply.body
    lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}",
             f"Date: {http_date()}", "Server: fault"]
    for name, value in headers.items():
        if value is not None:
            lines.append(f"{name}: {value}")
    if "Content-Length" not in headers and reply.status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: keep-alive" if keep else "Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", body


_date = (0, "")


def http_date():
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class Server:
    reply_class = Reply

    def __init__(self, application, delay_ms=0.0, record_headers=False):
        self.application = application
        self.delay = delay_ms / 1000
        self.record_headers = record_headers
        self.faults = faults.Script()
        self.log = []
        self.numbered = 0
        self.held = []          # requests that wait for a release: (request, resume)
        self.hold_waiters = []  # control requests that wait for requests being held
        self.connections = {}
        self.accepted = 0
        self.timers = []
        self.timer_number = 0
        self.running = True
        self.poll = select.epoll()
        self.listeners = {}     # descriptor: socket, context for TLS or None

    # --- the loop ---

    def listen(self, host="127.0.0.1", port=0, context=None):
        """On a port, with TLS when there is a context for that; tells which port."""
        listener = socket.create_server((host, port), backlog=1024)
        listener.setblocking(False)
        self.listeners[listener.fileno()] = listener, context
        self.poll.register(listener.fileno(), READABLE)
        return listener.getsockname()[1]

    def run(self, stop_at_eof=False):
        """Until stop(); with stop_at_eof also until the standard input ends."""
        if stop_at_eof:
            self.poll.register(sys.stdin.fileno(), READABLE)
        while self.running:
            timeout = -1
            if self.timers:
                timeout = max(0, self.timers[0][0] - time.monotonic())
            for fd, events in self.poll.poll(timeout):
                connection = self.connections.get(fd)
                if connection is not None:
                    self.serve(connection, events)
                elif fd in self.listeners:
                    self.accept(*self.listeners[fd])
                elif stop_at_eof and fd == sys.stdin.fileno():
                    if not os.read(fd, 4096):
                        self.running = False
            self.run_timers()

    def serve(self, connection, events):
        if events & WRITABLE:
            connection.flush()
        if events & READABLE and not connection.closed:
            connection.readable()
            while connection.is_tls and not connection.closed and connection.sock.pending():
                connection.readable()
        elif events & GONE and not connection.closed:
            self.lost(connection)

    def accept(self, listener, context):
        for _ in range(64):
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.accepted += 1
            self.connections[sock.fileno()] = Connection(self, sock, self.accepted, bool(context))
            self.poll.register(sock.fileno(), READABLE)

    def call_later(self, seconds, function):
        self.timer_number += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.timer_number, function))

    def run_timers(self):
        while self.timers and self.timers[0][0] <= time.monotonic():
            heapq.heappop(self.timers)[2]()

    def forget(self, connection):
        if not connection.closed:
            connection.closed = True
            connection.output.clear()
            fd = connection.sock.fileno()
            self.poll.unregister(fd)
            del self.connections[fd]
            connection.sock.close()

    def lost(self, connection):
        """The client closed. What it asked for before may still be carried out later."""
        request = connection.request
        self.forget(connection)
        if request is not None and request.number:
            self.write_log(request, 0, 0)

    # --- a request ---

    def head_complete(self, connection, request):
        """Looks at a request whose body was not read yet. True when that was its end."""
        if request.path.startswith(control.PREFIX):
            return False
        self.numbered += 1
        request.number = self.numbered
        try:
            self.application.describe(request)
        except ValueError:
            connection.give_up(400)
            return True
        request.fault = self.faults.match(request)
        if request.fault is None or not request.fault.at_head:
            return False
        connection.keep = False
        connection.unread = True
        faults.answer_at_head(self, connection, request)
        return True

    def complete(self, connection, request):
        if request.number == 0:
            control.answer(self, connection, request)
            return
        refusal = self.application.refuse(request)
        if refusal is not None:
            self.finish(connection, request, refusal)
            return
        delay = self.delay
        if request.fault is None:
            if delay > 0:
                self.call_later(delay, lambda: self.perform(connection, request))
            else:
                self.perform(connection, request)
            return
        faults.run(self, connection, request, delay)

    def perform(self, connection, request):
        """Carries out a request, also when its client has gone meanwhile: servers do that."""
        self.finish(connection, request, self.application.answer(request))

    def finish(self, connection, request, reply):
        if connection.closed:
            return
        body = len(reply.body)
        if request.method == "HEAD":
            # The length is that of the body which a GET would have.
            reply.headers.setdefault("Content-Length", body)
            reply.body = b""
            body = 0
        connection.send(reply, lambda: self.finished(connection, request, reply.status, body))

    def finished(self, connection, request, status, body):
        self.write_log(request, status, body)
        connection.next_request()

    def write_log(self, request, status, sent):
        entry = {
            "number": request.number, "begin": request.begin, "end": time.monotonic(),
            "method": request.method, "operation": request.operation, "bucket": request.bucket,
            "key": request.key, "query": request.query, "range": request.range,
            "status": status, "bytes_in": len(request.body), "bytes_out": sent,
            "connection": request.connection.number,
            "fault": request.fault.kind if request.fault else None,
        }
        if self.record_headers:
            entry["path"] = request.path
            entry["headers"] = request.headers
            entry["body"] = bytes(request.body[:4096]).decode("latin-1")
        self.log.append(entry)

    @staticmethod
    def render(reply, keep):
        return render(reply, keep)[0]

    # --- requests that wait for a release ---

    def hold(self, request, resume):
        self.held.append((request, resume))
        waiters, self.hold_waiters = self.hold_waiters, []
        for count, answer in waiters:
            if len(self.held) >= count:
                answer()
            else:
                self.hold_waiters.append((count, answer))

    def release(self, count):
        chosen, self.held = self.held[:count], self.held[count:]
        for _, resume in chosen:
            resume()
        return len(chosen)


def die_with_parent():
    """Ends with the process that started this one, also when that is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)


def serve(server, arguments, words=""):
    """Listens, tells where on the first line of the standard output, and runs. The line is "ready
    HOST PORT" and `words`, with --tls "ready HOST PORT TLS-PORT FILE", the file being the
    certificate that clients should trust."""
    if arguments.until_eof:
        die_with_parent()
    if arguments.faults:
        with open(arguments.faults, encoding="utf-8") as file:
            server.faults.add(json.load(file))
    ready = f"ready {arguments.host} {server.listen(arguments.host, arguments.port)}{words}"
    folder = None
    if arguments.tls:
        context, trusted, folder = certificates.make_in_new_folder(arguments.tls)
        ready += f" {server.listen(arguments.host, 0, context)} {trusted}"
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print(ready, flush=True)
    try:
        server.run(stop_at_eof=arguments.until_eof)
    finally:
        if folder:
            folder.cleanup()


def add_arguments(parser):
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any that is free")
    parser.add_argument("--delay-ms", type=float, nargs="?", const=20.0, default=0.0,
                        help="delay of every reply; 20 when given without a number")
    parser.add_argument("--tls", choices=certificates.KINDS,
                        help="listen on a second port, with a certificate of this kind")
    parser.add_argument("--faults", help="file with scripted faults, JSON")
    parser.add_argument("--record-headers", action="store_true",
                        help="the log has the headers and the begin of the body of each request")
    parser.add_argument("--until-eof", action="store_true",
                        help="end when the standard input ends, or the parent process")
