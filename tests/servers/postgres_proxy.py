#!/usr/bin/env python3
"""Stands between clients and a Postgres, and knows where one request ends and the next begins.

usage: postgres_proxy.py [options] PORT

Clients of Postgres connect to the second port of "ready HOST PORT POSTGRES-PORT" and reach the
Postgres at 127.0.0.1:PORT; the first one is for the control interface (control.py). A request is
what is answered by one ReadyForQuery: the start of a connection, a simple query, or what an
extended query has up to its Sync. Requests are numbered, logged and matched against scripted faults
(faults.py) by operation ("connect", else the first word of the SQL in small letters) and key (the
SQL). Two kinds are known here:

  hold    waits for POST /_control/release before it is passed on, or with "applied" before its
          answer is. When the client goes meanwhile, so does the connection to Postgres.
  drop    closes the client's connection and then the one to Postgres, or with "applied" passes the
          request on first, and throws its answer away

With the setting {"late": true} requests that nobody waits for any more arrive all the same: what is
held when its client goes, or what is dropped without having been passed on, is passed on when it is
released, and only then does Postgres see that the connection ended.
"""

import argparse
import socket
import struct
import sys
import time

import http_loop
from http_loop import Reply

RECEIVE = 256 * 1024
MESSAGE_MAX = 64 * 1024 * 1024
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
READY_FOR_QUERY = ord("Z")


class Broken(Exception):
    """What came is not the protocol."""


class Messages:
    """Bytes of one direction, cut into messages."""

    def __init__(self, has_type):
        self.has_type = has_type
        self.data = bytearray()

    def take(self):
        """(type, whole message); None when there is none as yet. A type of 0: it has none."""
        head = 5 if self.has_type else 4
        if len(self.data) < head:
            return None
        length = struct.unpack_from(">I", self.data, head - 4)[0]
        if not 4 <= length <= MESSAGE_MAX:
            raise Broken
        whole = head - 4 + length
        if len(self.data) < whole:
            return None
        message = bytes(self.data[:whole])
        del self.data[:whole]
        return message[0] if self.has_type else 0, message


class End:
    """One end of a link, as the loop sees it."""

    is_tls = False

    def __init__(self, link, sock, other_name):
        self.link = link
        self.sock = sock
        self.other_name = other_name
        self.closed = False
        self.output = bytearray()
        self.mask = http_loop.READABLE
        sock.setblocking(False)

    def readable(self):
        try:
            data = self.sock.recv(RECEIVE)
        except http_loop.LATER:
            return
        except OSError:
            data = b""
        self.link.came(self, data)

    def send(self, data):
        if not self.closed:
            self.output += data
            self.flush()

    def flush(self):
        try:
            while self.output:
                del self.output[:self.sock.send(self.output)]
        except http_loop.LATER:
            pass
        except OSError:
            self.link.came(self, b"")
            return
        mask = http_loop.READABLE | (http_loop.WRITABLE if self.output else 0)
        if mask != self.mask and not self.closed:
            self.mask = mask
            self.link.server.poll.modify(self.sock.fileno(), mask)


class Link:
    """A client's connection with the one to Postgres that is made for it."""

    def __init__(self, server, sock, number):
        self.server = server
        self.number = number
        self.client = End(self, sock, "client")
        self.postgres = End(
            self, socket.create_connection(("127.0.0.1", server.postgres_port)), "postgres")
        self.asked = Messages(False)   # has types once the connection is started
        self.answered = Messages(True)
        self.unit = bytearray()        # the request that is being read
        self.sql = ""
        self.request = None            # being held or answered
        self.swallowed = None          # its answer, which is not passed on as yet
        self.is_last = False           # nobody waits for the answer

    # --- from the client ---

    def came(self, end, data):
        try:
            if end is self.postgres:
                self.answer_came(data)
            elif data:
                self.asked.data += data
                self.next_request()
            else:
                self.client_gone()
        except Broken:
            self.close()

    def next_request(self):
        while self.request is None and not self.client.closed:
            found = self.asked.take()
            if found is None:
                return
            self.message(*found)

    def message(self, kind, message):
        if not self.asked.has_type:
            code = struct.unpack_from(">I", message, 4)[0]
            if code in (SSL_REQUEST, GSS_REQUEST):
                self.client.send(b"N")
                return
            if code == CANCEL_REQUEST:
                raise Broken
            self.asked.has_type = True
            self.unit += message
            self.complete("connect", "")
            return
        self.unit += message
        if kind == ord("P"):
            self.sql = message[5:].split(b"\0")[1].decode("utf-8", "replace")
        elif kind == ord("Q"):
            self.sql = message[5:-1].decode("utf-8", "replace")
        elif kind == ord("X"):
            self.postgres.send(bytes(self.unit))
            self.close()
            return
        if kind in (ord("Q"), ord("S")):
            words = self.sql.split()
            self.complete(words[0].lower().rstrip(";") if words else "", self.sql)

    def complete(self, operation, sql):
        """A whole request: what is to become of it?"""
        request = http_loop.Request(self, "QUERY", "", {}, time.monotonic())
        request.operation = operation
        request.key = sql
        request.body = bytes(self.unit)
        self.unit.clear()
        self.server.numbered += 1
        request.number = self.server.numbered
        self.request = request
        plan = request.fault = self.server.faults.match(request)
        kind, applied = (plan.rule.kind, plan.rule.applied) if plan and plan.rule else ("", False)
        if applied:
            self.swallowed = bytearray()
            self.pass_on()
        elif kind == "hold":
            self.server.hold(request, self.pass_on)
        elif kind == "drop":
            self.drop()
        else:
            self.pass_on()

    def pass_on(self):
        self.postgres.send(self.request.body)

    def drop(self):
        self.end(self.client)
        if self.server.application.late:
            self.is_last = True
            self.server.hold(self.request, self.pass_on)
        else:
            self.close()

    def client_gone(self):
        self.end(self.client)
        if self.request in (held for held, _ in self.server.held) and \
                self.server.application.late and self.swallowed is None:
            self.is_last = True
        else:
            self.close()

    # --- from Postgres ---

    def answer_came(self, data):
        if not data:
            self.close()
            return
        self.answered.data += data
        ready = False
        while (found := self.answered.take()) is not None:
            ready = found[0] == READY_FOR_QUERY
            if self.swallowed is not None:
                self.swallowed += found[1]
            else:
                self.client.send(found[1])
        if ready and self.request is not None:
            self.answer_complete()

    def answer_complete(self):
        if self.is_last:
            self.close()
        elif self.swallowed is None:
            self.finish()
        elif self.request.fault.rule.kind == "hold":
            self.server.hold(self.request, self.finish)
        else:
            self.close()

    def finish(self):
        """The answer may arrive."""
        request, self.request = self.request, None
        if self.swallowed:
            self.client.send(bytes(self.swallowed))
        self.swallowed = None
        self.server.write_log(request, 200, 0)
        self.next_request()

    # --- the end ---

    def end(self, end):
        if not end.closed:
            end.closed = True
            fd = end.sock.fileno()
            self.server.poll.unregister(fd)
            del self.server.connections[fd]
            end.sock.close()

    def close(self):
        """Both ends. What is held is forgotten."""
        self.end(self.client)
        self.end(self.postgres)
        if self.request is not None:
            self.server.write_log(self.request, 0, 0)
            self.request = None


class Proxy(http_loop.Server):
    def __init__(self, application, postgres_port):
        super().__init__(application)
        self.postgres_port = postgres_port
        self.clients = None  # the listener for them

    def accept(self, listener, context):
        if listener is not self.clients:
            super().accept(listener, context)
            return
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        link = Link(self, sock, self.accepted)
        for end in (link.client, link.postgres):
            self.connections[end.sock.fileno()] = end
            self.poll.register(end.sock.fileno(), http_loop.READABLE)

    def lost(self, connection):
        if isinstance(connection, End):
            connection.link.came(connection, b"")
        else:
            super().lost(connection)

    def release(self, count):
        # Its link may be closed by now.
        self.held = [(request, resume) for request, resume in self.held
                     if request is request.connection.request]
        return super().release(count)


class Application:
    """What the control interface asks for; HTTP has nothing else to ask here."""

    late = False

    def describe(self, request):
        request.operation = "unknown"

    def refuse(self, _):
        return Reply(404)

    def configure(self, settings):
        self.late = bool(settings.pop("late", False))
        if settings:
            raise ValueError(f'no setting "{sorted(settings)[0]}"')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    http_loop.add_arguments(parser)
    parser.add_argument("postgres_port", type=int)
    options = parser.parse_args()
    server = Proxy(Application(), options.postgres_port)
    port = server.listen(options.host, 0)
    server.clients = next(listener for listener, _ in server.listeners.values())
    http_loop.serve(server, options, f" {port}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
