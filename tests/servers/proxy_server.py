#!/usr/bin/env python3
"""A proxy that knows one server only: whatever host a request names, it goes there.

usage: proxy_server.py [--user NAME:PASSWORD] [--tls-port PORT] PORT

Requests for http:// URLs go to 127.0.0.1:PORT, one on each connection; CONNECT, whatever host it
names, to 127.0.0.1:TLS-PORT. With --user others are refused with 407. Prints "ready HOST PORT" and
ends when its standard input does.
"""

import argparse
import base64
import contextlib
import socket
import sys
import threading

HEAD_MAX = 65536
REFUSED = (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=test\r\n"
           b"Content-Length: 0\r\nConnection: close\r\n\r\n")


def pass_on(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def read_head(client):
    data = b""
    while b"\r\n\r\n" not in data and len(data) < HEAD_MAX:
        more = client.recv(65536)
        if not more:
            return None, b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest


def is_allowed(lines, user):
    if not user:
        return True
    wanted = "proxy-authorization: basic " + base64.b64encode(user.encode()).decode().lower()
    return any(line.lower() == wanted for line in lines[1:])


def forward(lines):
    """The head as the server is to see it: without its proxy, for one request."""
    method, target, version = lines[0].split(" ")
    path = "/" + target.partition("://")[2].partition("/")[2]
    kept = [line for line in lines[1:]
            if line.partition(":")[0].lower() not in ("connection", "proxy-connection",
                                                      "proxy-authorization")]
    return "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode(
        "latin-1")


def serve(client, options):
    with client:
        lines, rest = read_head(client)
        if not lines:
            return
        if not is_allowed(lines, options.user):
            client.sendall(REFUSED)
            return
        tunnel = lines[0].startswith("CONNECT ")
        port = options.tls_port if tunnel else options.port
        with socket.create_connection(("127.0.0.1", port)) as server:
            if tunnel:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(forward(lines) + rest)
            back = threading.Thread(target=pass_on, args=(server, client), daemon=True)
            back.start()
            pass_on(client, server)
            back.join()


def accept(listener, options):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, options), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until-eof", action="store_true", help="as the other servers have it")
    parser.add_argument("--user")
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    print("ready 127.0.0.1", listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener, options), daemon=True).start()
    sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
