#!/usr/bin/env python3
"""Stands in for the places that hand out credentials: instance metadata (IMDSv2), container
metadata (ECS, EKS), web identity (STS). Or, with --evil, for a host that wants to learn some.

usage: credentials_server.py [--evil] [options]

  PUT  /latest/api/token                        with X-aws-ec2-metadata-token-ttl-seconds: a token
  GET  /latest/meta-data/iam/security-credentials/          the name of the role, given the token
  GET  /latest/meta-data/iam/security-credentials/ROLE      credentials as JSON
  GET  /container                               credentials as JSON; with --container-token only
                                                for this Authorization
  POST /   (or GET) Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=...&
           RoleSessionName=...&WebIdentityToken=...          credentials as XML; with
                                                --web-identity-token only for this one

Each answer has credentials of its own, "ACCESS-n" with "SECRET-n" and "TOKEN-n", so that a test
sees which ones are in use; they expire --expires-s after that. Operations in the log: imds_token
imds_role imds_credentials container_credentials assume_role. Faults and log: control.py. Settings:
expires_s, container_token, web_identity_token, role, given (how many there were).

--evil answers everything with 404, or what a fault says, and keeps what it was sent: use it with
--record-headers.
"""

import argparse
import json
import sys
import time
from urllib.parse import parse_qsl

import http_loop
from http_loop import Reply
from s3_server import iso_date, text

IMDS = "/latest/meta-data/iam/security-credentials/"
STS = "https://sts.amazonaws.com/doc/2011-06-15/"
TTL_MAX_S = 21600


def plain(status, body):
    return Reply(status, {"Content-Type": "text/plain"}, body.encode())


class Stub:
    """What the two applications share."""

    def refuse(self, _):
        return None

    def error(self, status, code, message, _):
        return plain(status, f"{code}: {message}\n")

    def change(self, *_):
        raise ValueError("there are no objects here")

    def content(self, *_):
        raise ValueError("there are no objects here")

    def configure(self, settings):
        for name, value in settings.items():
            if name not in self.SETTINGS:
                raise ValueError(f'no setting "{name}"')
            setattr(self, name, value)

    SETTINGS = ()


class Evil(Stub):
    def describe(self, request):
        request.operation = "unknown"
        request.key = request.path

    def answer(self, _):
        return plain(404, "there is nothing here\n")


class Credentials(Stub):
    SETTINGS = ("expires_s", "container_token", "web_identity_token", "role", "given")

    def __init__(self, options):
        self.expires_s = options.expires_s
        self.container_token = options.container_token
        self.web_identity_token = options.web_identity_token
        self.role = options.role
        self.tokens = {}  # token of IMDS: when it ends
        self.given = 0

    def describe(self, request):
        path = request.path
        request.key = path
        if path == "/latest/api/token":
            request.operation = "imds_token"
        elif path == IMDS:
            request.operation = "imds_role"
        elif path.startswith(IMDS):
            request.operation = "imds_credentials"
        elif path.startswith("/container"):
            request.operation = "container_credentials"
        elif path == "/":
            request.operation = "assume_role"
        else:
            request.operation = "unknown"

    def answer(self, request):
        function = {"imds_token": self.imds_token, "imds_role": self.imds_role,
                    "imds_credentials": self.imds_credentials,
                    "container_credentials": self.container,
                    "assume_role": self.assume_role}.get(request.operation)
        return function(request) if function else plain(404, "not found\n")

    def next_credentials(self):
        self.given += 1
        # Whole seconds, as the services have it.
        expires = iso_date(time.time() + self.expires_s).partition(".")[0] + "Z"
        return (f"ACCESS-{self.given}", f"SECRET-{self.given}", f"TOKEN-{self.given}", expires)

    def as_json(self, code):
        access, secret, token, expires = self.next_credentials()
        members = {"AccessKeyId": access, "SecretAccessKey": secret, "Token": token,
                   "Expiration": expires}
        if code:
            members = {"Code": "Success", "Type": "AWS-HMAC",
                       "LastUpdated": iso_date(time.time()), **members}
        return Reply(200, {"Content-Type": "application/json"},
                     json.dumps(members, indent=2).encode())

    # --- instance metadata ---

    def imds_token(self, request):
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if request.method != "PUT":
            return plain(405, "PUT\n")
        if not ttl.isdigit() or not 1 <= int(ttl) <= TTL_MAX_S or \
                "x-forwarded-for" in request.headers:
            return plain(400 if "x-forwarded-for" not in request.headers else 403, "no\n")
        token = f"imds-token-{len(self.tokens) + 1}=="
        self.tokens[token] = time.monotonic() + int(ttl)
        reply = plain(200, token)
        reply.headers["X-aws-ec2-metadata-token-ttl-seconds"] = ttl
        return reply

    def has_token(self, request):
        token = request.headers.get("x-aws-ec2-metadata-token", "")
        return self.tokens.get(token, 0) > time.monotonic()

    def imds_role(self, request):
        if not self.has_token(request):
            return plain(401, "no token\n")
        return plain(200, self.role) if self.role else plain(404, "no role\n")

    def imds_credentials(self, request):
        if not self.has_token(request):
            return plain(401, "no token\n")
        if request.path != IMDS + self.role:
            return plain(404, "no such role\n")
        return self.as_json(True)

    # --- container metadata ---

    def container(self, request):
        if request.method != "GET":
            return plain(405, "GET\n")
        if self.container_token and \
                request.headers.get("authorization") != self.container_token:
            return plain(401, "wrong token\n")
        return self.as_json(False)

    # --- web identity ---

    def assume_role(self, request):
        members = dict(parse_qsl(request.query if request.method == "GET"
                                 else bytes(request.body).decode("latin-1")))
        missing = [name for name in ("RoleArn", "RoleSessionName", "WebIdentityToken")
                   if not members.get(name)]
        if members.get("Action") != "AssumeRoleWithWebIdentity" or \
                members.get("Version") != "2011-06-15":
            return self.sts_error(400, "InvalidAction", "not an action of this version")
        if missing:
            return self.sts_error(400, "MissingParameter", missing[0])
        if "authorization" in request.headers:
            return self.sts_error(403, "SignatureDoesNotMatch", "this action is not signed")
        if self.web_identity_token and members["WebIdentityToken"] != self.web_identity_token:
            return self.sts_error(400, "InvalidIdentityToken", "couldn't verify the token")
        access, secret, token, expires = self.next_credentials()
        arn = text(members["RoleArn"])
        body = (f'<AssumeRoleWithWebIdentityResponse xmlns="{STS}">'
                f"<AssumeRoleWithWebIdentityResult><Audience>test</Audience><AssumedRoleUser>"
                f"<AssumedRoleId>ID:{text(members['RoleSessionName'])}</AssumedRoleId>"
                f"<Arn>{arn}</Arn></AssumedRoleUser><Credentials>"
                f"<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>"
                f"<Expiration>{expires}</Expiration><AccessKeyId>{access}</AccessKeyId>"
                f"</Credentials></AssumeRoleWithWebIdentityResult><ResponseMetadata>"
                f"<RequestId>{request.number}</RequestId></ResponseMetadata>"
                f"</AssumeRoleWithWebIdentityResponse>")
        return Reply(200, {"Content-Type": "text/xml"}, body.encode())

    @staticmethod
    def sts_error(status, code, message):
        body = (f'<ErrorResponse xmlns="{STS}"><Error><Type>Sender</Type><Code>{code}</Code>'
                f"<Message>{text(message)}</Message></Error></ErrorResponse>")
        return Reply(status, {"Content-Type": "text/xml"}, body.encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    http_loop.add_arguments(parser)
    parser.add_argument("--evil", action="store_true")
    parser.add_argument("--expires-s", type=float, default=3600)
    parser.add_argument("--container-token")
    parser.add_argument("--web-identity-token")
    parser.add_argument("--role", default="test-role")
    options = parser.parse_args()
    application = Evil() if options.evil else Credentials(options)
    server = http_loop.Server(application, options.delay_ms, options.record_headers)
    http_loop.serve(server, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
