#!/usr/bin/env python3
"""Starts the S3 server of moto, another S3 to test against: "ready HOST PORT" is its first line.

usage: moto_server.py [--bucket NAME] [--until-eof]
"""

import argparse
import logging
import os
import signal
import sys
import threading

import http_loop

try:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server
except ImportError as error:
    sys.exit(f"moto_server.py: {error}: run scripts/setup test, and build/venv/bin/python")


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def log_request(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append", help="bucket to make (test-bucket)")
    parser.add_argument("--until-eof", action="store_true",
                        help="end when the standard input ends, or the parent process")
    options = parser.parse_args()
    if options.until_eof:
        http_loop.die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(options.host, options.port, application, threaded=True,
                         request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    import boto3  # late: it takes a while, and the server may start meanwhile
    client = boto3.client("s3", endpoint_url=f"http://{options.host}:{server.port}",
                          region_name="us-east-1", aws_access_key_id="test-access-key",
                          aws_secret_access_key="test-secret-key")
    for name in options.bucket or ["test-bucket"]:
        client.create_bucket(Bucket=name)
    print(f"ready {options.host} {server.port}", flush=True)
    if options.until_eof:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(0)
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
