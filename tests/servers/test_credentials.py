#!/usr/bin/env python3
"""The stand-ins for sources of credentials, with botocore as the client, and the evil host."""

import json
import unittest

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

from support import REGION, ServerTest, send

TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
IMDS = "/latest/meta-data/iam/security-credentials/"


class CredentialsTest(ServerTest):
    script = "credentials_server.py"
    arguments = ("--expires-s", "600")

    def test_instance_metadata(self):
        fetcher = InstanceMetadataFetcher(base_url=self.server.url)
        got = fetcher.retrieve_iam_role_credentials()
        self.assertEqual("test-role", got["role_name"])
        self.assertTrue(got["access_key"].startswith("ACCESS-"))
        self.assertTrue(got["secret_key"].startswith("SECRET-"))
        self.assertTrue(got["token"].startswith("TOKEN-"))
        self.assertRegex(got["expiry_time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        again = fetcher.retrieve_iam_role_credentials()
        self.assertNotEqual(got["access_key"], again["access_key"])
        self.assertEqual(["imds_token", "imds_role", "imds_credentials"] * 2,
                         [e["operation"] for e in self.server.log()])

    def test_instance_metadata_without_a_token(self):
        for path in (IMDS, IMDS + "test-role"):
            self.assertEqual(401, send(self.server, "GET", path).status)
            self.assertEqual(401, send(self.server, "GET", path,
                                       {"X-aws-ec2-metadata-token": "no"}).status)
        self.assertEqual(400, send(self.server, "PUT", "/latest/api/token").status)
        self.assertEqual(405, send(self.server, "GET", "/latest/api/token", TTL).status)
        self.assertEqual(403, send(self.server, "PUT", "/latest/api/token",
                                   {**TTL, "X-Forwarded-For": "1"}).status)
        token = send(self.server, "PUT", "/latest/api/token", TTL).body.decode()
        reply = send(self.server, "GET", IMDS + "other", {"X-aws-ec2-metadata-token": token})
        self.assertEqual(404, reply.status)

    def test_container_metadata(self):
        fetcher = ContainerMetadataFetcher()
        got = fetcher.retrieve_full_uri(f"{self.server.url}/container")
        self.assertEqual({"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}, set(got))
        self.server.control("POST", "settings", {"container_token": "secret"})
        self.assertEqual(401, send(self.server, "GET", "/container").status)
        got = fetcher.retrieve_full_uri(f"{self.server.url}/container",
                                        {"Authorization": "secret"})
        self.assertIn("Token", got)
        self.server.control("POST", "settings", {"container_token": None})

    def test_web_identity(self):
        session = botocore.session.get_session()
        client = session.create_client("sts", region_name=REGION, endpoint_url=self.server.url,
                                       config=Config(signature_version=UNSIGNED))
        arguments = {"RoleArn": "arn:aws:iam::1:role/r", "RoleSessionName": "name",
                     "WebIdentityToken": "token"}
        got = client.assume_role_with_web_identity(**arguments)
        self.assertTrue(got["Credentials"]["AccessKeyId"].startswith("ACCESS-"))
        self.assertEqual("arn:aws:iam::1:role/r", got["AssumedRoleUser"]["Arn"])
        self.server.control("POST", "settings", {"web_identity_token": "other"})
        with self.assertRaises(client.exceptions.InvalidIdentityTokenException):
            client.assume_role_with_web_identity(**arguments)
        self.server.control("POST", "settings", {"web_identity_token": None})

    def test_web_identity_in_other_words(self):
        good = ("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=r&RoleSessionName=s"
                "&WebIdentityToken=t")
        self.assertEqual(200, send(self.server, "GET", f"/?{good}").status)
        self.assertEqual(200, send(self.server, "POST", "/", {}, good.encode()).status)
        for bad in ("", good.replace("2011", "2012"), good.replace("RoleArn=r", ""),
                    good.replace("With", "Without")):
            with self.subTest(bad=bad):
                reply = send(self.server, "POST", "/", {}, bad.encode())
                self.assertEqual(400, reply.status)
                self.assertIn(b"<ErrorResponse", reply.body)
        reply = send(self.server, "POST", "/", {"Authorization": "x"}, good.encode())
        self.assertEqual(403, reply.status)

    def test_expiry_follows_the_setting(self):
        def expires():
            return json.loads(send(self.server, "GET", "/container").body)["Expiration"]

        before = expires()
        self.server.control("POST", "settings", {"expires_s": -1})
        self.assertLess(expires(), before)
        self.server.control("POST", "settings", {"expires_s": 600})
        with self.assertRaises(RuntimeError):
            self.server.control("POST", "settings", {"tokens": {}})

    def test_faults_work_here_too(self):
        self.server.faults({"kind": "status", "status": 500, "operation": "container_credentials",
                            "times": 1})
        self.assertEqual(500, send(self.server, "GET", "/container").status)
        self.assertEqual(200, send(self.server, "GET", "/container").status)
        self.assertEqual(404, send(self.server, "GET", "/none").status)


class EvilTest(ServerTest):
    script = "credentials_server.py"
    arguments = ("--evil", "--record-headers")

    def test_what_was_sent_is_recorded(self):
        reply = send(self.server, "POST", "/any?x=1", {"Authorization": "secret"}, b"body")
        self.assertEqual(404, reply.status)
        entry = self.server.log()[0]
        self.assertEqual(("secret", "/any", "x=1", "body"),
                         (entry["headers"]["authorization"], entry["path"], entry["query"],
                          entry["body"]))

    def test_it_redirects_when_told(self):
        self.server.faults({"kind": "status", "status": 307, "location": "http://127.0.0.1:1/"})
        self.assertEqual("http://127.0.0.1:1/",
                         send(self.server, "GET", "/").headers["location"])


if __name__ == "__main__":
    unittest.main(argv=["test_credentials.py", "-q"])
