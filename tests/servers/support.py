"""What the tests of the servers share: starting one, and two clients: boto3, and one that sends
exactly what it is told over a socket and signs with botocore."""

import json
import socket
import subprocess
import sys
import unittest
from pathlib import Path

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

HERE = Path(__file__).resolve().parent
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
REGION = "us-east-1"
BUCKET = "test-bucket"
TIMEOUT_S = 60


class Running:
    """A server process; ends with its standard input."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, HERE / script, "--until-eof", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        if line[:1] != ["ready"]:
            raise RuntimeError(f"{script} did not start: {line}")
        self.host, self.port = line[1], int(line[2])
        self.words = line[3:]
        self.url = f"http://{self.host}:{self.port}"

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(TIMEOUT_S)

    def control(self, method, path, body=None):
        data = b"" if body is None else body if isinstance(body, bytes) else \
            json.dumps(body).encode()
        reply = send(self, method, f"/_control/{path}", {}, data)
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body}")
        return reply.body

    def faults(self, *rules):
        self.control("PUT", "faults", list(rules))

    def log(self, query=""):
        return [json.loads(line) for line in self.control("GET", f"log?{query}").splitlines()]

    def counts(self, query=""):
        lines = self.control("GET", f"counts?{query}").decode().splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}


class Reply:
    def __init__(self, data):
        self.raw = data
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        self.status = int(words[1]) if words[0] == "HTTP/1.1" else 0
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value


def signed(server, method, target, headers=None, body=b"", **options):
    """Headers with a signature; botocore signs what is canonical, whatever the target looks like.
    options: access_key, secret_key, token, region, payload_hash."""
    headers = {"Host": f"{server.host}:{server.port}", **(headers or {})}
    if options.get("payload_hash"):
        headers["X-Amz-Content-SHA256"] = options["payload_hash"]
    request = AWSRequest(method, f"http://{headers['Host']}{target}", headers, body)
    request.context["payload_signing_enabled"] = True
    credentials = Credentials(options.get("access_key", ACCESS_KEY),
                              options.get("secret_key", SECRET_KEY), options.get("token"))
    signer = S3SigV4Auth(credentials, "s3", options.get("region", REGION))
    signer.add_auth(request)
    return dict(request.headers.items())


def send(server, method, target, headers=None, body=b"", length=None):
    """One request on a connection of its own; all that comes back."""
    headers = {"Host": f"{server.host}:{server.port}", "Connection": "close", **(headers or {})}
    headers["Content-Length"] = str(len(body) if length is None else length)
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    with socket.create_connection((server.host, server.port), TIMEOUT_S) as sock:
        try:
            sock.sendall(head.encode("latin-1") + body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return Reply(receive(sock))


def receive(sock):
    data = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece


def ask(server, method, target, headers=None, body=b"", **options):
    """A signed request."""
    return send(server, method, target, signed(server, method, target, headers, body, **options),
                body)


def client(server, **options):
    config = Config(retries={"total_max_attempts": 1}, signature_version="s3v4",
                    s3={"addressing_style": options.pop("style", "path")})
    return boto3.client("s3", endpoint_url=options.pop("url", server.url), region_name=REGION,
                        aws_access_key_id=options.pop("access_key", ACCESS_KEY),
                        aws_secret_access_key=options.pop("secret_key", SECRET_KEY),
                        aws_session_token=options.pop("token", None), config=config)


class ServerTest(unittest.TestCase):
    """A server for all tests of a class; faults and log are empty when a test begins."""

    script = "s3_server.py"
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Running(cls.script, *cls.arguments)
        cls.client = client(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def setUp(self):
        self.server.control("DELETE", "faults")
        self.server.control("POST", "release")
        self.server.control("DELETE", "log")

    def put(self, key, body, bucket=BUCKET):
        """Puts an object behind the clients' back."""
        self.server.control("PUT", f"object?bucket={bucket}&key={key}", body)

    def content(self, key, bucket=BUCKET):
        return self.server.control("GET", f"object?bucket={bucket}&key={key}")
