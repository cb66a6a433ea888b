#!/usr/bin/env python3
"""Our S3 server with boto3 as the client, and request by request where boto3 does not go."""

import base64
import concurrent.futures as futures
import datetime
import hashlib
import random
import socket
import tempfile
import unittest
import zlib
from pathlib import Path
from unittest import mock

from botocore.exceptions import ClientError

import s3_auth
import s3_objects
from support import BUCKET, Reply, ServerTest, ask, client, receive, send, signed


def code_of(reply):
    start = reply.body.find(b"<Code>")
    return reply.body[start + 6:reply.body.find(b"</Code>")].decode() if start >= 0 else ""


def md5(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class ObjectsTest(ServerTest):
    def refused(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(code, caught.exception.response["Error"]["Code"])

    def test_what_was_put_is_read(self):
        for key in ("a", "a/b/c", "a b+c%2F&=?#", "ü/\U0001f600", "..", "a//b", "/a", "a/", "~-_."):
            with self.subTest(key=key):
                body = key.encode() * 3
                put = self.client.put_object(Bucket=BUCKET, Key=key, Body=body,
                                             ContentType="text/x", Metadata={"m": "1"})
                self.assertEqual(md5(body), put["ETag"])
                got = self.client.get_object(Bucket=BUCKET, Key=key)
                self.assertEqual(body, got["Body"].read())
                self.assertEqual("text/x", got["ContentType"])
                self.assertEqual({"m": "1"}, got["Metadata"])
                head = self.client.head_object(Bucket=BUCKET, Key=key)
                self.assertEqual(len(body), head["ContentLength"])
                self.assertEqual(put["ETag"], head["ETag"])
                self.client.delete_object(Bucket=BUCKET, Key=key)
                self.refused("NoSuchKey", self.client.get_object, Bucket=BUCKET, Key=key)
                self.refused("404", self.client.head_object, Bucket=BUCKET, Key=key)

    def test_ranges(self):
        self.put("r", bytes(range(100)))
        for asked, first, last in (("0-9", 0, 9), ("90-", 90, 99), ("-5", 95, 99),
                                   ("99-99", 99, 99), ("50-1000", 50, 99), ("-1000", 0, 99)):
            with self.subTest(range=asked):
                got = self.client.get_object(Bucket=BUCKET, Key="r", Range=f"bytes={asked}")
                self.assertEqual(bytes(range(first, last + 1)), got["Body"].read())
                self.assertEqual(f"bytes {first}-{last}/100", got["ContentRange"])
        reply = ask(self.server, "GET", f"/{BUCKET}/r", {"Range": "bytes=100-"})
        self.assertEqual((416, "InvalidRange"), (reply.status, code_of(reply)))
        self.assertEqual("bytes */100", reply.headers["content-range"])
        for asked in ("bytes=5-4", "bytes=1-2,4-5", "lines=1-2", "bytes=-"):
            with self.subTest(range=asked):
                reply = ask(self.server, "GET", f"/{BUCKET}/r", {"Range": asked})
                self.assertEqual((200, 100), (reply.status, len(reply.body)))

    def test_conditions_of_reads(self):
        self.put("c", b"one")
        etag = md5(b"one")
        get = {"Bucket": BUCKET, "Key": "c"}
        self.assertEqual(b"one", self.client.get_object(IfMatch=etag, **get)["Body"].read())
        self.refused("PreconditionFailed", self.client.get_object, IfMatch='"other"', **get)
        self.refused("304", self.client.get_object, IfNoneMatch=etag, **get)
        self.client.get_object(IfNoneMatch='"other"', **get)
        self.refused("NoSuchKey", self.client.get_object, Bucket=BUCKET, Key="no", IfMatch=etag)
        reply = ask(self.server, "GET", f"/{BUCKET}/c", {"If-None-Match": etag})
        self.assertEqual((304, b"", etag), (reply.status, reply.body, reply.headers["etag"]))
        self.assertNotIn("content-length", reply.headers)

    def test_conditions_of_writes(self):
        put = {"Bucket": BUCKET, "Key": "w"}
        first = self.client.put_object(Body=b"1", IfNoneMatch="*", **put)["ETag"]
        self.refused("PreconditionFailed", self.client.put_object, Body=b"2", IfNoneMatch="*",
                     **put)
        self.refused("PreconditionFailed", self.client.put_object, Body=b"2", IfMatch='"x"', **put)
        second = self.client.put_object(Body=b"2", IfMatch=first, **put)["ETag"]
        self.refused("PreconditionFailed", self.client.put_object, Body=b"3", IfMatch=first, **put)
        self.client.delete_object(**put)
        self.refused("NoSuchKey", self.client.put_object, Body=b"3", IfMatch=second, **put)
        for headers in ({"If-None-Match": first}, {"x-amz-acl": "private"}):
            reply = ask(self.server, "PUT", f"/{BUCKET}/w", headers, b"x")
            self.assertEqual((501, "NotImplemented"), (reply.status, code_of(reply)))
        self.assertEqual(501, ask(self.server, "DELETE", f"/{BUCKET}/w", {"If-Match": "x"}).status)

    def test_buckets_that_do_not_honour_conditions(self):
        def statuses(conditions):
            self.server.control("POST", "settings",
                                {"bucket": {"name": "alike", "conditions": conditions}})
            self.put("k", b"old", "alike")
            return [ask(self.server, "PUT", "/alike/k", headers, b"x").status
                    for headers in ({"If-None-Match": "*"}, {"If-Match": '"x"'}, {})]

        self.assertEqual([412, 412, 200], statuses("honour"))
        self.assertEqual([200, 200, 200], statuses("ignore"))
        self.assertEqual([412, 200, 200], statuses("if-none-match"))
        self.assertEqual([501, 501, 200], statuses("refuse"))
        with self.assertRaises(RuntimeError):
            statuses("sometimes")

    def test_one_of_many_conditional_writers_wins(self):
        with futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(
                lambda i: ask(self.server, "PUT", f"/{BUCKET}/race", {"If-None-Match": "*"},
                              b"%d" % i).status, range(64)))
        self.assertEqual([200] + [412] * 63, sorted(replies))

    def test_listings_in_pages_of_every_size(self):
        client_ = self.client
        client_.create_bucket(Bucket="listed")
        numbers = random.Random(1)
        keys = sorted({"".join(numbers.choice("ab/+ ü\x01") for _ in range(numbers.randrange(1, 6)))
                       for _ in range(120)}, key=str.encode)
        for key in keys:
            self.put("".join(f"%{b:02x}" for b in key.encode()), key.encode(), "listed")
        for prefix in ("", "a", "a/", "ü", "none"):
            for delimiter in ("", "/"):
                expected = self.naive(keys, prefix, delimiter)
                for size in (1, 3, 7, 1000):
                    with self.subTest(prefix=prefix, delimiter=delimiter, size=size):
                        self.assertEqual(expected, self.pages("listed", prefix, delimiter, size))
        after = client_.list_objects_v2(Bucket="listed", StartAfter=keys[50])["Contents"]
        self.assertEqual(keys[51:], [c["Key"] for c in after])
        self.refused("BucketNotEmpty", client_.delete_bucket, Bucket="listed")

    @staticmethod
    def naive(keys, prefix, delimiter):
        found = []
        for key in (k for k in keys if k.startswith(prefix)):
            head, mark, _ = key[len(prefix):].partition(delimiter) if delimiter else (key, "", "")
            name = prefix + head + mark if mark else key
            if name not in found:
                found.append(name)
        return found

    def pages(self, bucket, prefix, delimiter, size):
        found, token = [], None
        while True:
            more = {"ContinuationToken": token} if token else {}
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter=delimiter,
                                               MaxKeys=size, **more)
            names = [c["Key"] for c in page.get("Contents", [])]
            names += [c["Prefix"] for c in page.get("CommonPrefixes", [])]
            self.assertEqual(len(names), page["KeyCount"])
            self.assertLessEqual(len(names), size)
            found += names
            if not page["IsTruncated"]:
                return sorted(found, key=str.encode)
            self.assertEqual(size, len(names))
            token = page["NextContinuationToken"]

    def test_a_page_has_a_thousand_keys_at_most(self):
        self.client.create_bucket(Bucket="many")
        for i in range(1001):
            self.put(f"k{i:04}", b"", "many")
        page = self.client.list_objects_v2(Bucket="many", MaxKeys=5000)
        self.assertEqual((1000, True), (page["KeyCount"], page["IsTruncated"]))
        self.assertEqual(0, self.client.list_objects_v2(Bucket="many", MaxKeys=0)["KeyCount"])
        reply = ask(self.server, "GET", "/many?list-type=2&continuation-token=%21")
        self.assertEqual((400, "InvalidArgument"), (reply.status, code_of(reply)))
        self.assertEqual(501, ask(self.server, "GET", "/many?list-type=1").status)
        self.assertEqual(501, ask(self.server, "GET", "/many?list-type=2&versions=").status)

    def test_deleting_many(self):
        for name in ("d1", "d2", "d&<3>"):
            self.put(name.replace("&", "%26"), b"x")
        keys = [{"Key": k} for k in ("d1", "d&<3>", "none")]
        done = self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
        self.assertEqual(["d&<3>", "d1", "none"], sorted(d["Key"] for d in done["Deleted"]))
        done = self.client.delete_objects(Bucket=BUCKET,
                                          Delete={"Objects": [{"Key": "d2"}], "Quiet": True})
        self.assertNotIn("Deleted", done)
        body = b"<Delete><Object><Key>a</Key></Object></Delete>"
        reply = ask(self.server, "POST", f"/{BUCKET}?delete=", {}, body)
        self.assertEqual((400, "InvalidRequest"), (reply.status, code_of(reply)))
        for bad in (b"<Delete>", b"<Delete/>", b"<Other/>",
                    b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>"):
            headers = {"Content-MD5": base64.b64encode(hashlib.md5(bad).digest()).decode()}
            reply = ask(self.server, "POST", f"/{BUCKET}?delete=", headers, bad)
            self.assertEqual((400, "MalformedXML"), (reply.status, code_of(reply)))

    def test_buckets(self):
        self.client.create_bucket(Bucket="new")
        self.refused("BucketAlreadyOwnedByYou", self.client.create_bucket, Bucket="new")
        self.client.head_bucket(Bucket="new")
        self.assertIn("new", [b["Name"] for b in self.client.list_buckets()["Buckets"]])
        self.assertIsNone(self.client.get_bucket_location(Bucket="new")["LocationConstraint"])
        self.client.delete_bucket(Bucket="new")
        self.refused("404", self.client.head_bucket, Bucket="new")
        self.refused("NoSuchBucket", self.client.get_object, Bucket="new", Key="k")
        self.refused("NoSuchBucket", self.client.list_objects_v2, Bucket="new")

    def test_a_bucket_in_the_host(self):
        known = socket.getaddrinfo

        def resolve(host, *arguments, **more):
            return known("127.0.0.1" if host.endswith(".localhost") else host, *arguments, **more)

        virtual = client(self.server, url=f"http://localhost:{self.server.port}", style="virtual")
        with mock.patch("socket.getaddrinfo", resolve):
            virtual.put_object(Bucket=BUCKET, Key="v/k", Body=b"virtual")
        self.assertEqual(b"virtual", self.content("v/k"))
        self.assertEqual(BUCKET, self.server.log("method=PUT")[-1]["bucket"])
        reply = ask(self.server, "GET", "/v/k", {"Host": f"{BUCKET}.s3.test"})
        self.assertEqual((200, b"virtual"), (reply.status, reply.body))

    def test_a_connection_is_kept_and_closed_when_asked(self):
        self.put("k", b"value")
        headers = signed(self.server, "GET", f"/{BUCKET}/k")
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        request = f"GET /{BUCKET}/k HTTP/1.1\r\n{lines}"
        with socket.create_connection((self.server.host, self.server.port)) as sock:
            sock.sendall((request + "\r\n" + request + "Connection: close\r\n\r\n").encode())
            data = receive(sock)
        self.assertEqual(2, data.count(b"HTTP/1.1 200 OK"))
        self.assertTrue(data.endswith(b"value"))
        self.assertEqual(1, self.server.counts()["connections"])

    def test_what_is_no_request_is_refused(self):
        for raw, status in ((b"GET\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
                            (b"PUT /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
                            (b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
                            (b"GET /" + b"a" * 70000, 431)):
            with socket.create_connection((self.server.host, self.server.port)) as sock:
                sock.sendall(raw)
                self.assertEqual(status, Reply(receive(sock)).status, raw[:40])

    def test_expect_100_continue(self):
        body = b"x" * 100000
        headers = signed(self.server, "PUT", f"/{BUCKET}/e", {"Expect": "100-continue"}, body)
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        with socket.create_connection((self.server.host, self.server.port)) as sock:
            sock.sendall(f"PUT /{BUCKET}/e HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n"
                         "Connection: close\r\n\r\n".encode())
            self.assertEqual(b"HTTP/1.1 100 Continue\r\n\r\n", sock.recv(25, socket.MSG_WAITALL))
            sock.sendall(body)
            self.assertEqual(200, Reply(receive(sock)).status)
        self.assertEqual(body, self.content("e"))


class UploadsTest(ServerTest):
    arguments = ("--min-part-size", "100")

    def begin(self, key="big"):
        return {"Bucket": BUCKET, "Key": key, "UploadId": self.client.create_multipart_upload(
            Bucket=BUCKET, Key=key, Metadata={"m": "x"})["UploadId"]}

    def part(self, upload, number, body, **more):
        done = self.client.upload_part(PartNumber=number, Body=body, **upload, **more)
        return {"PartNumber": number, "ETag": done["ETag"]}

    def complete(self, upload, parts, **more):
        return self.client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload,
                                                     **more)

    def refused(self, code, upload, parts, **more):
        with self.assertRaises(ClientError) as caught:
            self.complete(upload, parts, **more)
        self.assertEqual(code, caught.exception.response["Error"]["Code"])

    def test_parts_become_an_object(self):
        upload = self.begin()
        parts = [self.part(upload, n, b"%d" % n * 100) for n in (3, 1, 2)]
        parts.sort(key=lambda p: p["PartNumber"])
        listed = self.client.list_parts(**upload)["Parts"]
        self.assertEqual([1, 2, 3], [p["PartNumber"] for p in listed])
        done = self.complete(upload, parts)
        self.assertTrue(done["ETag"].endswith('-3"'))
        got = self.client.get_object(Bucket=BUCKET, Key="big")
        self.assertEqual(b"1" * 100 + b"2" * 100 + b"3" * 100, got["Body"].read())
        self.assertEqual({"m": "x"}, got["Metadata"])
        self.refused("NoSuchUpload", upload, parts)

    def test_an_aborted_upload_leaves_nothing(self):
        upload = self.begin("gone")
        self.part(upload, 1, b"x")
        found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix="go")["Uploads"]
        self.assertEqual([("gone", upload["UploadId"])], [(u["Key"], u["UploadId"]) for u in found])
        self.client.abort_multipart_upload(**upload)
        self.assertNotIn("Uploads", self.client.list_multipart_uploads(Bucket=BUCKET, Prefix="go"))
        self.refused("NoSuchUpload", upload, [{"PartNumber": 1, "ETag": "x"}])
        with self.assertRaises(ClientError):
            self.client.head_object(Bucket=BUCKET, Key="gone")

    def test_wrong_completions_are_refused(self):
        upload = self.begin()
        one, two = (self.part(upload, n, b"x" * 100) for n in (1, 2))
        short = self.part(upload, 3, b"short")
        self.refused("InvalidPartOrder", upload, [two, one])
        self.refused("InvalidPartOrder", upload, [one, one])
        self.refused("InvalidPart", upload, [one, {"PartNumber": 2, "ETag": '"x"'}])
        self.refused("InvalidPart", upload, [one, {"PartNumber": 7, "ETag": one["ETag"]}])
        self.refused("EntityTooSmall", upload, [one, short, self.part(upload, 4, b"x")])
        self.complete(upload, [one, two, short])

    def test_completions_with_conditions(self):
        first, second = self.begin("cond"), self.begin("cond")
        parts = [[self.part(u, 1, b"x")] for u in (first, second)]
        etag = self.complete(first, parts[0], IfNoneMatch="*")["ETag"]
        self.refused("PreconditionFailed", second, parts[1], IfNoneMatch="*")
        self.refused("PreconditionFailed", second, parts[1], IfMatch='"x"')
        self.complete(second, parts[1], IfMatch=etag)

    def test_checksums_of_parts(self):
        upload = self.begin()
        body = b"x" * 200
        sha = base64.b64encode(hashlib.sha256(body).digest()).decode()
        part = self.part(upload, 1, body, ChecksumSHA256=sha)
        self.refused("InvalidPart", upload, [{**part, "ChecksumSHA256": "AAAA"}])
        self.complete(upload, [{**part, "ChecksumSHA256": sha}])
        with self.assertRaises(ClientError) as caught:
            self.part(self.begin(), 1, b"other", ChecksumSHA256=sha)
        self.assertEqual("BadDigest", caught.exception.response["Error"]["Code"])


class ChecksumsTest(ServerTest):
    def test_right_ones_are_kept_and_wrong_ones_refused(self):
        body = b"123456789" * 2000
        values = {
            "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
            "x-amz-checksum-sha1": hashlib.sha1(body).digest(),
            "x-amz-checksum-crc32": zlib.crc32(body).to_bytes(4, "big"),
            "x-amz-checksum-crc32c": s3_auth.crc32c(body).to_bytes(4, "big"),
            "Content-MD5": hashlib.md5(body).digest(),
        }
        for name, value in values.items():
            with self.subTest(name=name):
                text = base64.b64encode(value).decode()
                reply = ask(self.server, "PUT", f"/{BUCKET}/s", {name: text}, body)
                self.assertEqual(200, reply.status, reply.body)
                if name != "Content-MD5":
                    reply = ask(self.server, "HEAD", f"/{BUCKET}/s",
                                {"x-amz-checksum-mode": "ENABLED"})
                    self.assertEqual(text, reply.headers[name])
                reply = ask(self.server, "PUT", f"/{BUCKET}/bad", {name: text}, body + b"!")
                self.assertEqual((400, "BadDigest"), (reply.status, code_of(reply)))
                reply = ask(self.server, "PUT", f"/{BUCKET}/bad", {name: "AAAA"}, body)
                self.assertEqual(400, reply.status)
        self.assertEqual(404, ask(self.server, "GET", f"/{BUCKET}/bad").status)

    def test_crc32c_is_that_of_the_table(self):
        self.assertEqual(0xE3069283, s3_auth.crc32c(b"123456789"))
        numbers = random.Random(1)
        for size in (0, 1, 8191, 8192, 8193, 16383, 70001, 300000):
            data = numbers.randbytes(size)
            with self.subTest(size=size):
                self.assertEqual(s3_auth.crc32c_small(data, 0xFFFFFFFF) ^ 0xFFFFFFFF,
                                 s3_auth.crc32c(data))


class SignatureTest(ServerTest):
    def expect(self, status, code, reply):
        self.assertEqual((status, code), (reply.status, code_of(reply)))

    def test_signed_requests_pass(self):
        targets = ("/", f"/{BUCKET}?list-type=2&prefix=a%2Fb&delimiter=%2F",
                   f"/{BUCKET}?prefix=%20%2B%3D%26&list-type=2&max-keys=1", f"/{BUCKET}?location=")
        for target in targets:
            with self.subTest(target=target):
                self.assertEqual(200, ask(self.server, "GET", target).status)
        for key in ("plain", "with%20space", "a%3Db", "%C3%BC", "a%2Bb", "%25", "a~b", "a//b"):
            with self.subTest(key=key):
                self.assertEqual(200, ask(self.server, "PUT", f"/{BUCKET}/{key}", {}, b"x").status)

    def test_every_changed_part_is_noticed(self):
        target = f"/{BUCKET}/k?x-id=PutObject"
        good = signed(self.server, "PUT", target, {"x-amz-meta-a": "1"}, b"body")
        self.assertEqual(200, send(self.server, "PUT", target, good, b"body").status)
        wrong = "SignatureDoesNotMatch"
        changed = [
            ("PUT", f"/{BUCKET}/other?x-id=PutObject", good, b"body", wrong),
            ("PUT", f"/{BUCKET}/k?x-id=Other", good, b"body", wrong),
            ("PUT", f"/{BUCKET}/k", good, b"body", wrong),
            ("DELETE", target, good, b"", wrong),
            ("PUT", target, {**good, "x-amz-meta-a": "2"}, b"body", wrong),
            ("PUT", target, {**good, "Host": "other"}, b"body", wrong),
            ("PUT", target, {**good, "x-amz-meta-b": "2"}, b"body", "AccessDenied"),
            ("PUT", target, good, b"hody", "XAmzContentSHA256Mismatch"),
        ]
        for method, path, headers, body, code in changed:
            with self.subTest(method=method, path=path, code=code):
                self.assertEqual(code, code_of(send(self.server, method, path, headers, body)))
        authorization = good["Authorization"]
        flipped = authorization[:-1] + ("0" if authorization[-1] != "0" else "1")
        self.expect(403, wrong, send(self.server, "PUT", target,
                                     {**good, "Authorization": flipped}, b"body"))
        without = {name: value for name, value in good.items() if name != "x-amz-meta-a"}
        self.expect(403, "AccessDenied", send(self.server, "PUT", target, without, b"body"))

    def test_wrong_credentials_have_their_own_errors(self):
        target = f"/{BUCKET}/k"
        self.expect(403, "AccessDenied", send(self.server, "GET", target))
        self.expect(400, "AuthorizationHeaderMalformed",
                    send(self.server, "GET", target, {"Authorization": "Basic eA=="}))
        self.expect(403, "InvalidAccessKeyId", ask(self.server, "GET", target, access_key="no"))
        self.expect(403, "SignatureDoesNotMatch", ask(self.server, "GET", target, secret_key="no"))
        self.expect(400, "InvalidToken", ask(self.server, "GET", target, token="no"))
        reply = ask(self.server, "GET", target, region="eu-north-1")
        self.expect(400, "AuthorizationHeaderMalformed", reply)
        self.assertIn(b"<Region>us-east-1</Region>", reply.body)

    def test_the_digest_of_the_payload_is_needed(self):
        target = f"/{BUCKET}/k"
        reply = ask(self.server, "PUT", target, {}, b"x", payload_hash="UNSIGNED-PAYLOAD")
        self.assertIn(reply.status, (200, 403))
        headers = signed(self.server, "PUT", target, {}, b"x")
        for name in [n for n in headers if n.lower() == "x-amz-content-sha256"]:
            del headers[name]
        self.assertIn(code_of(send(self.server, "PUT", target, headers, b"x")),
                      ("AccessDenied", "InvalidRequest"))

    def test_a_clock_that_is_wrong_is_refused(self):
        for seconds, status in ((0, 404), (880, 404), (-880, 404), (1000, 403), (-1000, 403)):
            self.server.control("POST", "settings", {"clock_offset_s": seconds})
            reply = ask(self.server, "GET", f"/{BUCKET}/none")
            self.assertEqual(status, reply.status, seconds)
            if status == 403:
                self.assertEqual("RequestTimeTooSkewed", code_of(reply))
        self.server.control("POST", "settings", {"clock_offset_s": 0})

    def test_session_tokens(self):
        other = {"access_key": "temporary", "secret_key": "s", "session_token": "token"}
        usual = {"access_key": "test-access-key", "secret_key": "test-secret-key"}
        self.server.control("POST", "settings", {"credentials": [usual, other]})
        keys = {"access_key": "temporary", "secret_key": "s"}
        target = f"/{BUCKET}/none"
        self.assertEqual(404, ask(self.server, "GET", target, token="token", **keys).status)
        self.expect(403, "InvalidToken", ask(self.server, "GET", target, **keys))
        self.expect(400, "InvalidToken", ask(self.server, "GET", target, token="x", **keys))
        self.server.control("POST", "settings",
                            {"credentials": [usual, {**other, "expired": True}]})
        self.expect(400, "ExpiredToken", ask(self.server, "GET", target, token="token", **keys))

    def test_the_vectors_of_aws(self):
        # "GET Object" and "GET Bucket (List Objects)" of the S3 API reference, Signature Version 4.
        request = mock.Mock(method="GET", path="/test.txt", query="", headers={
            "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9",
            "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
            "x-amz-date": "20130524T000000Z",
            "authorization":
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                "aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
                "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"})
        now = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc).timestamp()
        verifier = s3_auth.Verifier(
            [{"access_key": "AKIAIOSFODNN7EXAMPLE",
              "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}], "us-east-1", lambda: now)
        verifier.verify(request)
        request.path = "/"
        request.query = "max-keys=2&prefix=J"
        del request.headers["range"]
        request.headers["authorization"] = (
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
            "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
        verifier.verify(request)
        request.query = "max-keys=3&prefix=J"
        with self.assertRaises(s3_auth.Refusal):
            verifier.verify(request)


class PreloadTest(unittest.TestCase):
    def test_files_become_objects(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a").mkdir()
            (Path(folder) / "a" / "small").write_bytes(b"small")
            (Path(folder) / "large").write_bytes(b"x" * (1 << 20))
            bucket = s3_objects.Bucket("b")
            s3_objects.preload(bucket, folder, False)
            self.assertEqual([b"a/small", b"large"], bucket.sorted)
            self.assertEqual(b"small", bucket.objects["a/small"].data)
            self.assertEqual(1 << 20, len(bucket.objects["large"].data))
            self.assertEqual(md5(b"x" * (1 << 20)), bucket.objects["large"].etag)


if __name__ == "__main__":
    unittest.main(argv=["test_s3.py", "-q"])
