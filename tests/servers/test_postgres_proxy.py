#!/usr/bin/env python3
"""The proxy before Postgres: what counts as a request, what is held, dropped and comes late. With a
client of a few lines that speaks the protocol."""

import socket
import struct
import unittest

from support import TIMEOUT_S, Running


class Client:
    """A session; an answer is a list of (type, body)."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.rest = b""
        body = struct.pack(">I", 196608) + b"user\0test\0database\0test\0\0"
        self.sock.sendall(struct.pack(">I", len(body) + 4) + body)
        try:
            self.answer()
        except Exception:
            self.close()
            raise

    def receive(self, size):
        while len(self.rest) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.rest += data
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def answer(self):
        """All messages until the server is ready for the next query."""
        messages = []
        while not messages or messages[-1][0] != b"Z":
            kind, length = struct.unpack(">cI", self.receive(5))
            messages.append((kind, self.receive(length - 4)))
        return messages

    def send(self, *messages):
        self.sock.sendall(b"".join(kind + struct.pack(">I", len(body) + 4) + body
                                   for kind, body in messages))

    def ask(self, sql):
        """The first column of all rows."""
        self.send((b"Q", sql.encode() + b"\0"))
        return [body[6:].decode() for kind, body in self.answer() if kind == b"D"]

    def close(self):
        self.sock.close()


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Running("postgres_server.py")
        cls.server = Running("postgres_proxy.py", str(cls.postgres.port))
        cls.beside = Client(cls.postgres.port)

    @classmethod
    def tearDownClass(cls):
        cls.beside.close()
        cls.server.stop()
        cls.postgres.stop()

    def setUp(self):
        self.server.control("DELETE", "faults")
        self.server.control("POST", "release")
        self.server.control("POST", "settings", {"late": False})
        self.server.control("DELETE", "log")
        self.beside.ask("DROP TABLE IF EXISTS t; CREATE TABLE t (i integer)")

    def client(self):
        client = Client(int(self.server.words[0]))
        self.addCleanup(client.close)
        return client

    def rows(self):
        return self.beside.ask("SELECT count(*)::text FROM t")[0]

    def wait_no_session(self):
        while self.beside.ask("SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = "
                              "'client backend' AND pid <> pg_backend_pid()") != ["0"]:
            pass

    def insert_held(self, **rule):
        """A client whose INSERT is held."""
        client = self.client()
        self.server.faults({"kind": "hold", "operation": "insert", **rule})
        client.send((b"Q", b"INSERT INTO t VALUES (1)\0"))
        self.server.control("GET", "held?count=1")
        return client

    def test_requests_are_what_is_answered_at_once(self):
        client = self.client()
        self.assertEqual(["7"], client.ask("SELECT 7"))
        client.send((b"P", b"\0SELECT $1::text\0\0\0"),
                    (b"B", b"\0\0" + struct.pack(">hhi1sh", 0, 1, 1, b"x", 0)),
                    (b"E", b"\0" + struct.pack(">i", 0)), (b"S", b""))
        self.assertIn(b"D", [kind for kind, _ in client.answer()])
        client.ask("BEGIN; SELECT 1")
        log = self.server.log()
        self.assertEqual(["connect", "select", "select", "begin"],
                         [entry["operation"] for entry in log])
        self.assertEqual("SELECT $1::text", log[2]["key"])
        self.assertEqual([1, 2, 3], [entry["number"] - log[0]["number"] for entry in log[1:]])

    def test_what_is_held_goes_with_its_client(self):
        self.insert_held().close()
        self.wait_no_session()
        self.server.control("POST", "release")
        self.assertEqual("0", self.rows())

    def test_what_is_held_after_it_was_done_is_done(self):
        client = self.insert_held(applied=True)
        self.assertEqual("1", self.rows())
        client.close()
        self.wait_no_session()

    def test_what_is_released_is_answered(self):
        for applied in (False, True):
            client = self.insert_held(applied=applied)
            self.server.control("POST", "release")
            self.assertEqual(b"INSERT 0 1\0", client.answer()[0][1])
            self.server.control("DELETE", "faults")
        self.assertEqual("2", self.rows())

    def test_what_is_late_is_done_when_it_is_released(self):
        self.server.control("POST", "settings", {"late": True})
        self.insert_held().close()
        self.assertEqual("0", self.rows())
        self.server.control("POST", "release")
        self.wait_no_session()
        self.assertEqual("1", self.rows())

    def test_what_is_dropped_was_done_or_not(self):
        for number, (applied, late) in enumerate([(False, False), (True, False), (False, True)]):
            self.server.control("POST", "settings", {"late": late})
            self.server.faults({"kind": "drop", "operation": "insert", "applied": applied})
            client = self.client()
            with self.assertRaises((EOFError, ConnectionError)):
                client.ask("INSERT INTO t VALUES (1)")
            self.server.control("POST", "release")
            self.wait_no_session()
            self.assertEqual(str(number), self.rows())

    def test_later_connections_are_dropped_as_well(self):
        client = self.client()
        self.server.faults({"kind": "drop", "from": 2})
        client.ask("SELECT 1")
        with self.assertRaises((EOFError, ConnectionError)):
            client.ask("SELECT 2")
        with self.assertRaises((EOFError, ConnectionError)):
            self.client()


if __name__ == "__main__":
    unittest.main()
