#!/usr/bin/env python3
"""Checks the table of published signatures that tests/unit/test_s3.c compares with: each is
computed here in another way, with the hashes of the standard library and, where it is there, by
botocore."""

import hashlib
import hmac
import unittest
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent / "unit" / "s3_vectors.expected"


def vectors():
    for block in VECTORS.read_text().split("\n\n"):
        vector = {"query": "", "payload": "", "headers": {}}
        for line in block.splitlines():
            if line.startswith("#") or not line:
                continue
            name, value = line.split(" ", 1)
            if name == "header":
                header, _, text = value.partition(":")
                vector["headers"][header] = text
            else:
                vector[name] = value
        if "name" in vector:
            yield vector


def string_to_sign(v):
    names = sorted(v["headers"])
    canonical = "\n".join([
        v["method"], v["path"], v["query"],
        *(f"{name}:{' '.join(v['headers'][name].split())}" for name in names), "",
        ";".join(names), hashlib.sha256(v["payload"].encode()).hexdigest()])
    scope = f"{v['time'][:8]}/{v['region']}/{v['service']}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"AWS4-HMAC-SHA256\n{v['time']}\n{scope}\n{digest}"


def signature(v):
    key = ("AWS4" + v["secret"]).encode()
    for part in (v["time"][:8], v["region"], v["service"], "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, string_to_sign(v).encode(), "sha256").hexdigest()


class Vectors(unittest.TestCase):
    def test_the_signatures_come_out(self):
        count = 0
        for v in vectors():
            with self.subTest(v["name"]):
                self.assertEqual(signature(v), v["signature"])
                self.assertEqual(v["signed"], ";".join(sorted(v["headers"])))
                count += 1
        self.assertGreaterEqual(count, 14)

    def test_botocore_agrees(self):
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
        except ImportError:
            self.skipTest("there is no botocore")
        for v in vectors():
            with self.subTest(v["name"]):
                auth = SigV4Auth(Credentials(v["key_id"], v["secret"]), v["service"], v["region"])
                url = f"https://{v['headers']['host']}{v['path']}"
                request = AWSRequest(v["method"], url)
                request.context["timestamp"] = v["time"]
                self.assertEqual(auth.signature(string_to_sign(v), request), v["signature"])


if __name__ == "__main__":
    unittest.main()
