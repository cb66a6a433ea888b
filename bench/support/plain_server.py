#!/usr/bin/env python3
"""A server with as much of S3 as moving large objects takes, for measuring: a thread for each
connection, files by sendfile, what is put is received and forgotten. It checks nothing.

usage: plain_server.py DIRECTORY        the first line of the output is "ready HOST PORT"

/test-bucket/KEY is the file DIRECTORY/KEY. POST /_control/rate?N: from now on all connections
together carry no more than N bytes a second in each direction, as a link does; 0: no limit.
"""

import os
import re
import socket
import sys
import threading
import time
from urllib.parse import unquote

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
BUCKET = "/test-bucket/"
PIECE = 1 << 20


class Link:
    """Lets bytes pass at a rate, whoever sends them."""

    piece = 256 << 10

    def __init__(self):
        self.lock = threading.Lock()
        self.rate = 0
        self.free_at = 0.0

    def most(self):
        return self.piece if self.rate else 1 << 30

    def passed(self, count):
        if not self.rate:
            return
        with self.lock:
            now = time.monotonic()
            # what was not used in 10 ms is lost
            self.free_at = max(self.free_at, now - 0.01) + count / self.rate
            wait = self.free_at - now
        if wait > 0:
            time.sleep(wait)


OUT, IN = Link(), Link()


def head(status, headers=(), length=0):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send_text(sock, status, text, headers=()):
    body = text.encode()
    sock.sendall(head(status, headers, len(body)) + body)


def send_file(sock, root, path, headers, with_body):
    try:
        file = open(os.path.join(root, path), "rb")
    except OSError:
        send_text(sock, "404 Not Found", f"{XML}<Error><Code>NoSuchKey</Code></Error>")
        return
    with file:
        info = os.fstat(file.fileno())
        first, last, status = 0, info.st_size - 1, "200 OK"
        more = [f'ETag: "{info.st_mtime_ns:x}-{info.st_size:x}"', "Accept-Ranges: bytes"]
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        if match and int(match[1]) < info.st_size:
            first, last = int(match[1]), min(int(match[2]), last)
            status = "206 Partial Content"
            more.append(f"Content-Range: bytes {first}-{last}/{info.st_size}")
        left = last - first + 1
        sock.sendall(head(status, more, left))
        while left > 0 and with_body:
            sent = os.sendfile(sock.fileno(), file.fileno(), first, min(left, OUT.most()))
            if sent == 0:
                return
            OUT.passed(sent)
            first, left = first + sent, left - sent


def receive(sock, rest, left, room):
    left -= len(rest)
    while left > 0:
        got = sock.recv_into(room, min(left, PIECE, IN.most()))
        if got == 0:
            return
        IN.passed(got)
        left -= got


def answer(sock, root, method, target, headers, rest, room):
    path, _, query = target.partition("?")
    path = unquote(path)[len(BUCKET):]
    if headers.get("expect"):
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    receive(sock, rest, int(headers.get("content-length", 0)), room)
    if target.startswith("/_control/"):
        OUT.rate = IN.rate = int(query)
        send_text(sock, "200 OK", "")
    elif method in ("GET", "HEAD"):
        send_file(sock, root, path, headers, method == "GET")
    elif method == "POST" and query.startswith("uploads"):
        send_text(sock, "200 OK", f"{XML}<InitiateMultipartUploadResult><UploadId>1</UploadId>"
                  "</InitiateMultipartUploadResult>")
    elif method == "POST":
        send_text(sock, "200 OK", f"{XML}<CompleteMultipartUploadResult><ETag>\"1\"</ETag>"
                  "</CompleteMultipartUploadResult>")
    else:
        send_text(sock, "200 OK", "", ['ETag: "1"'])


def serve(sock, root):
    room = bytearray(PIECE)
    data = b""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        while True:
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                data += piece
            text, _, rest = data.partition(b"\r\n\r\n")
            lines = text.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            method, target = lines[0].split(" ")[:2]
            answer(sock, root, method, target, headers, rest, room)
            data = b""


def serve_quietly(sock, root):
    try:
        serve(sock, root)
    except OSError:
        pass  # the client has gone


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print("ready", *listener.getsockname(), flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_quietly, args=(sock, sys.argv[1]), daemon=True).start()


if __name__ == "__main__":
    main()
