#!/usr/bin/env python3
"""Every kind of scripted fault, seen from a client; which requests a rule meets; the log."""

import gzip
import hashlib
import json
import socket
import struct
import tempfile
import threading
import time
import unittest
from pathlib import Path

import faults
from support import BUCKET, REGION, Running, ServerTest, ask, send, signed

BODY = bytes(range(200))
TARGET = f"/{BUCKET}/k"


class FaultTest(ServerTest):
    def setUp(self):
        super().setUp()
        self.put("k", BODY)

    def get(self, headers=None, target=TARGET):
        return ask(self.server, "GET", target, headers)

    def part(self, first=10, last=19):
        return self.get({"Range": f"bytes={first}-{last}"})

    def status_of_puts(self, *bodies, key="w", headers=None):
        return [ask(self.server, "PUT", f"/{BUCKET}/{key}", headers, b).status for b in bodies]


class KindsTest(FaultTest):
    def test_every_kind_is_tested_here(self):
        source = Path(__file__).read_text(encoding="utf-8")
        for kind in faults.MEMBERS:
            self.assertIn(f'"kind": "{kind}"', source)

    def test_status(self):
        for status, code in faults.CODES.items():
            self.server.faults({"kind": "status", "status": status, "times": 1})
            reply = self.get()
            self.assertEqual(status, reply.status)
            self.assertIn(f"<Code>{code}</Code>".encode(), reply.body)
        self.server.faults({"kind": "status", "retry_after": 7, "code": "Slow", "message": "a<b"})
        reply = self.get()
        self.assertEqual("7", reply.headers["retry-after"])
        self.assertIn(b"<Code>Slow</Code><Message>a&lt;b</Message>", reply.body)
        self.server.faults({"kind": "status", "status": 301, "location": "http://evil.test/",
                            "region": "eu-north-1"})
        reply = self.get()
        self.assertEqual("http://evil.test/", reply.headers["location"])
        self.assertEqual("eu-north-1", reply.headers["x-amz-bucket-region"])
        reply = ask(self.server, "HEAD", TARGET)
        self.assertEqual((301, b""), (reply.status, reply.body))

    def test_a_status_with_or_without_the_request_being_carried_out(self):
        self.server.faults({"kind": "status", "status": 500, "times": 1})
        self.assertEqual([500], self.status_of_puts(b"one"))
        self.assertEqual(404, self.get(target=f"/{BUCKET}/w").status)
        self.server.faults({"kind": "status", "status": 412, "times": 1, "applied": True})
        self.assertEqual([412], self.status_of_puts(b"two"))
        self.assertEqual(b"two", self.content("w"))
        ask(self.server, "DELETE", f"/{BUCKET}/w")

    def test_a_status_before_the_body(self):
        self.server.faults({"kind": "status", "at": "head", "times": 1})
        target = f"/{BUCKET}/early"
        headers = signed(self.server, "PUT", target, {}, b"x" * 1000)
        reply = send(self.server, "PUT", target, headers, b"", length=1000)
        self.assertEqual(503, reply.status)
        self.assertEqual("close", reply.headers["connection"])
        # Also when the client sends all of it.
        self.server.faults({"kind": "status", "at": "head", "times": 1})
        self.assertEqual([503], self.status_of_puts(b"x" * 4000000))

    def test_delay(self):
        self.server.faults({"kind": "delay", "ms": 50}, {"kind": "delay", "ms": 30},
                           {"kind": "status", "status": 500})
        self.assertEqual(500, self.get().status)
        entry = self.server.log()[-1]
        self.assertGreaterEqual(entry["end"] - entry["begin"], 0.08)
        self.assertEqual("delay+delay+status", entry["fault"])

    def test_slow(self):
        self.server.faults({"kind": "slow", "bytes_per_second": 2000})
        reply = self.get()
        self.assertEqual(BODY, reply.body)
        entry = self.server.log()[-1]
        self.assertGreaterEqual(entry["end"] - entry["begin"], 0.1)

    def test_cut(self):
        for after in (0, 7, 199):
            self.server.faults({"kind": "cut", "after": after})
            reply = self.get()
            self.assertEqual((200, "200"), (reply.status, reply.headers["content-length"]))
            self.assertEqual(BODY[:after], reply.body)

    def test_lengths(self):
        self.server.faults({"kind": "short", "bytes": 3})
        reply = self.part()
        self.assertEqual((206, "7", "bytes 10-19/200"), (
            reply.status, reply.headers["content-length"], reply.headers["content-range"]))
        self.server.faults({"kind": "long", "bytes": 2})
        reply = self.part()
        self.assertEqual((206, BODY[10:20] + b"\0\0"), (reply.status, reply.body))

    def test_ranges(self):
        self.server.faults({"kind": "full"})
        reply = self.part()
        self.assertEqual((200, BODY), (reply.status, reply.body))
        self.assertNotIn("content-range", reply.headers)
        self.server.faults({"kind": "range_shift", "bytes": 5})
        reply = self.part()
        self.assertEqual((206, BODY[15:25], "bytes 15-24/200"),
                         (reply.status, reply.body, reply.headers["content-range"]))
        self.server.faults({"kind": "content_range", "value": "bytes 0-9/*"})
        self.assertEqual("bytes 0-9/*", self.part().headers["content-range"])
        self.server.faults({"kind": "content_range", "value": None})
        reply = self.part()
        self.assertEqual((206, BODY[10:20]), (reply.status, reply.body))
        self.assertNotIn("content-range", reply.headers)
        self.server.faults({"kind": "multipart"})
        reply = self.part()
        self.assertEqual("multipart/byteranges; boundary=part", reply.headers["content-type"])
        self.assertIn(b"Content-Range: bytes 10-19/200\r\n\r\n" + BODY[10:20], reply.body)

    def test_contents(self):
        self.server.faults({"kind": "gzip"})
        reply = self.get()
        self.assertEqual("gzip", reply.headers["content-encoding"])
        self.assertEqual(BODY, gzip.decompress(reply.body))
        self.server.faults({"kind": "corrupt", "at_byte": 3})
        self.assertEqual(BODY[:3] + bytes([BODY[3] ^ 1]) + BODY[4:], self.get().body)
        self.assertEqual(BODY, self.content("k"))

    def test_scripted_replies(self):
        self.server.faults({"kind": "header", "set": {"etag": '"x"', "X-New": "1"},
                            "remove": ["Last-Modified"]})
        reply = self.get()
        self.assertEqual(('"x"', "1"), (reply.headers["etag"], reply.headers["x-new"]))
        self.assertNotIn("last-modified", reply.headers)
        self.server.faults({"kind": "body", "body": "<a>", "status": 202, "headers": {"X-A": "b"}})
        reply = self.get()
        self.assertEqual((202, b"<a>", "b"), (reply.status, reply.body, reply.headers["x-a"]))
        self.server.faults({"kind": "body", "base64": "AAEC"})
        self.assertEqual(b"\0\1\2", self.get().body)
        self.server.faults({"kind": "error_200", "code": "InternalError"})
        reply = self.get()
        self.assertEqual(200, reply.status)
        self.assertIn(b"<Error><Code>InternalError</Code>", reply.body)

    def test_what_is_not_http(self):
        self.server.faults({"kind": "garbage"})
        self.assertIn(b"this is not HTTP", self.get().raw)
        self.server.faults({"kind": "huge_headers", "bytes": 300000})
        reply = self.get()
        self.assertGreater(len(reply.raw), 300000)
        self.assertEqual(200, reply.status)

    def test_drop(self):
        self.server.faults({"kind": "drop", "times": 1})
        self.assertEqual([0], self.status_of_puts(b"x", key="dropped"))
        self.assertEqual(404, self.get(target=f"/{BUCKET}/dropped").status)
        self.server.faults({"kind": "drop", "applied": True, "times": 1})
        self.assertEqual([0], self.status_of_puts(b"x", key="dropped"))
        self.assertEqual(b"x", self.content("dropped"))

    def test_reset(self):
        self.server.faults({"kind": "reset", "applied": True, "times": 1})
        with self.assertRaises(ConnectionResetError):
            self.status_of_puts(b"x", key="reset")
        self.assertEqual(b"x", self.content("reset"))
        self.server.faults({"kind": "reset", "at": "head", "times": 1})
        with self.assertRaises(ConnectionResetError):
            self.status_of_puts(b"y" * 100000, key="reset")
        self.assertEqual(b"x", self.content("reset"))

    def test_hang(self):
        self.server.faults({"kind": "hang", "applied": True, "times": 1})
        target = f"/{BUCKET}/hung"
        headers = signed(self.server, "PUT", target, {}, b"x")
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        with socket.create_connection((self.server.host, self.server.port)) as sock:
            sock.sendall(f"PUT {target} HTTP/1.1\r\n{lines}Content-Length: 1\r\n\r\nx".encode())
            while self.server.control("GET", "faults").find(b'"used": 1') < 0:
                pass
            self.assertEqual(b"x", self.content("hung"))
            self.assertEqual([], self.server.log())
        while not self.server.log():
            pass
        self.assertEqual((0, "hang"), (self.server.log()[0]["status"],
                                       self.server.log()[0]["fault"]))

    def test_hold(self):
        self.server.faults({"kind": "hold", "method": "PUT"})
        results = []
        threads = [threading.Thread(target=lambda: results.extend(
            self.status_of_puts(b"x", key="held"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        self.server.control("GET", "held?count=3")
        self.assertEqual(404, self.get(target=f"/{BUCKET}/held").status)
        self.assertEqual(b"1\n", self.server.control("POST", "release?count=1"))
        self.assertEqual(b"2\n", self.server.control("POST", "release"))
        for thread in threads:
            thread.join()
        self.assertEqual([200] * 3, results)

    def test_change(self):
        etag = self.get().headers["etag"]
        self.server.faults({"kind": "change", "from": 2, "times": 1})
        self.assertEqual(206, ask(self.server, "GET", TARGET,
                                  {"If-Match": etag, "Range": "bytes=0-9"}).status)
        self.assertEqual(412, ask(self.server, "GET", TARGET,
                                  {"If-Match": etag, "Range": "bytes=10-19"}).status)
        self.assertEqual(1, sum(a != b for a, b in zip(BODY, self.content("k"))))
        self.server.faults({"kind": "change", "body": "new", "target": "other"})
        self.assertEqual(200, self.get().status)
        self.assertEqual(b"new", self.content("other"))
        self.server.faults({"kind": "change", "delete": True})
        self.assertEqual(404, self.get().status)

    def test_delete_errors(self):
        for key in ("x1", "x2", "y1"):
            self.put(key, b"x")
        self.server.faults({"kind": "delete_errors", "keys": "x*", "code": "AccessDenied"})
        done = self.client.delete_objects(
            Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in ("x1", "x2", "y1")]})
        self.assertEqual([("x1", "AccessDenied"), ("x2", "AccessDenied")],
                         sorted((e["Key"], e["Code"]) for e in done["Errors"]))
        self.assertEqual(b"x", self.content("x1"))
        with self.assertRaises(RuntimeError):
            self.content("y1")

    def test_a_late_request_is_carried_out_although_the_client_has_gone(self):
        self.server.faults({"kind": "delay", "ms": 30, "method": "PUT"})
        target = f"/{BUCKET}/zombie"
        headers = signed(self.server, "PUT", target, {}, b"late")
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        sock = socket.create_connection((self.server.host, self.server.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        sock.sendall(f"PUT {target} HTTP/1.1\r\n{lines}Content-Length: 4\r\n\r\nlate".encode())
        sock.close()
        while self.get(target=target).status == 404:
            pass
        self.assertEqual(b"late", self.content("zombie"))


class RulesTest(FaultTest):
    def statuses(self, count):
        return [self.get().status for _ in range(count)]

    def test_how_often(self):
        fault = {"kind": "status", "status": 500}
        for more, expected in (
                ({"times": 1}, [500, 200, 200, 200, 200, 200]),
                ({"from": 3, "times": 2}, [200, 200, 500, 500, 200, 200]),
                ({"from": 2, "to": 4}, [200, 500, 500, 500, 200, 200]),
                ({"every": 2}, [500, 200, 500, 200, 500, 200]),
                ({"from": 2, "every": 3}, [200, 500, 200, 200, 500, 200]),
                ({}, [500] * 6)):
            self.server.faults({**fault, **more})
            with self.subTest(more=more):
                self.assertEqual(expected, self.statuses(6))

    def test_percent_is_seeded(self):
        rule = {"kind": "status", "percent": 50, "seed": 7}
        seen = []
        for _ in range(2):
            self.server.faults(rule)
            seen.append(self.statuses(60))
        self.assertEqual(seen[0], seen[1])
        self.assertTrue(15 < seen[0].count(503) < 45)

    def test_which_requests(self):
        self.put("other", b"x")
        for more, expected in (({"key": "o*"}, [200, 503, 200]),
                               ({"method": "PUT"}, [200, 200, 503]),
                               ({"method": ["GET", "PUT"], "key": "[ko]*"}, [503, 503, 503]),
                               ({"operation": "put_*"}, [200, 200, 503]),
                               ({"bucket": "no*"}, [200, 200, 200]), ({"query": "?*"}, [200] * 3)):
            self.server.faults({"kind": "status", **more})
            with self.subTest(more=more):
                got = [self.get().status, self.get(target=f"/{BUCKET}/other").status,
                       *self.status_of_puts(b"x", key="k2")]
                self.assertEqual(expected, got)

    def test_numbers_of_requests(self):
        self.get()
        last = self.server.counts()["last"]
        self.server.faults({"kind": "status", "number_from": last + 2, "number_to": last + 3})
        self.assertEqual([200, 503, 503, 200], self.statuses(4))

    def test_rules_are_told_with_their_use(self):
        self.server.faults({"kind": "status", "times": 1}, {"kind": "cut", "key": "none"})
        self.statuses(3)
        told = json.loads(self.server.control("GET", "faults"))
        self.assertEqual([(1, 1), (0, 0)], [(r["seen"], r["used"]) for r in told])

    def test_a_list_of_an_operation_is_about_its_prefix(self):
        self.server.faults({"kind": "status", "operation": "list_objects", "key": "a/*"})
        self.assertEqual(503, self.get(target=f"/{BUCKET}?list-type=2&prefix=a%2Fb").status)
        self.assertEqual(200, self.get(target=f"/{BUCKET}?list-type=2&prefix=b").status)

    def test_mistakes_in_a_script_are_refused_and_change_nothing(self):
        self.server.faults({"kind": "status"})
        for bad in ({"kind": "none"}, {"kind": "status", "statsu": 1}, {"kind": "cut", "status": 1},
                    {"kind": "status", "at": "tail"}, {}, 7):
            with self.subTest(bad=bad), self.assertRaises(RuntimeError):
                self.server.faults(bad)
        self.assertEqual(503, self.get().status)

    def test_a_wrong_signature_is_told_before_a_fault(self):
        self.server.faults({"kind": "status", "status": 503})
        self.assertEqual(403, ask(self.server, "GET", TARGET, secret_key="wrong").status)


class ControlTest(FaultTest):
    def test_the_log_tells_all_of_a_request(self):
        ask(self.server, "GET", TARGET, {"Range": "bytes=0-9"})
        entry = self.server.log()[0]
        self.assertEqual(("GET", "get_object", BUCKET, "k", "bytes=0-9", 206, 0, 10), tuple(
            entry[name] for name in ("method", "operation", "bucket", "key", "range", "status",
                                     "bytes_in", "bytes_out")))
        self.assertLessEqual(entry["begin"], entry["end"])
        self.assertIsNone(entry["fault"])

    def test_the_log_is_filtered(self):
        self.get()
        self.status_of_puts(b"x")
        self.get(target=f"/{BUCKET}/none")
        last = self.server.counts()["last"]
        self.assertEqual(1, len(self.server.log("method=PUT")))
        self.assertEqual(1, len(self.server.log("status=404")))
        self.assertEqual(1, len(self.server.log(f"since={last - 1}")))
        self.assertEqual(2, self.server.counts("operation=get_*")["requests"])
        self.assertEqual(1, self.server.counts("key=no*")["status.404"])

    def test_settings_and_paths_that_there_are_not(self):
        for method, path, body in (("POST", "settings", {"no": 1}), ("POST", "settings", b"{"),
                                   ("GET", "none", None), ("PUT", "object?bucket=b&key=k", b"")):
            with self.subTest(path=path), self.assertRaises(RuntimeError):
                self.server.control(method, path, body)

    def test_control_requests_are_not_counted(self):
        self.server.control("GET", "log")
        self.assertEqual(0, self.server.counts()["requests"])


class DelayTest(unittest.TestCase):
    def test_requests_at_the_same_time_are_one_round_trip(self):
        server = Running("s3_server.py", "--delay-ms", "--auth", "off")
        try:
            begin = time.monotonic()
            for _ in range(3):
                threads = [threading.Thread(target=send, args=(server, "GET", TARGET))
                           for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self.assertGreaterEqual(time.monotonic() - begin, 0.06)
            counts = server.counts()
            self.assertEqual((24, 3), (counts["requests"], counts["round_trips"]))
        finally:
            self.assertEqual(0, server.stop())


class ScriptFileTest(unittest.TestCase):
    def test_a_server_begins_with_the_faults_of_a_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump([{"kind": "status", "status": 500}], file)
            file.flush()
            server = Running("s3_server.py", "--faults", file.name, "--auth", "off",
                             "--bucket", "b")
        try:
            self.assertEqual(500, send(server, "GET", "/b/k").status)
        finally:
            server.stop()


class EtagTest(unittest.TestCase):
    def test_a_counter_as_etag(self):
        server = Running("s3_server.py", "--etag", "counter", "--session-token", "t", "--region",
                         "r", "--conditions", "ignore")
        try:
            tags = {ask(server, "PUT", f"/{BUCKET}/k", {"If-None-Match": "*"}, b"x", token="t",
                        region="r").headers["etag"] for _ in range(3)}
            self.assertEqual(3, len(tags))
            self.assertNotIn(f'"{hashlib.md5(b"x").hexdigest()}"', tags)
            self.assertNotEqual("r", REGION)
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main(argv=["test_faults.py", "-q"])
