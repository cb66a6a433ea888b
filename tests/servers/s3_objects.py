"""Buckets of objects in memory, and uploads in parts."""

import bisect
import hashlib
import itertools
import mmap
import os
import time

CONDITIONS = ("honour", "ignore", "if-none-match", "refuse")


class Object:
    __slots__ = ("data", "etag", "modified", "headers")

    def __init__(self, data, etag, headers=None):
        self.data = data
        self.etag = etag
        self.modified = time.time()
        self.headers = headers or {}


class Upload:
    def __init__(self, key, headers):
        self.key = key
        self.headers = headers
        self.started = time.time()
        self.parts = {}  # number: (Object)


class Bucket:
    def __init__(self, name, conditions="honour"):
        self.name = name
        self.conditions = conditions
        self.objects = {}
        self.sorted = []  # (UTF-8 key) in order
        self.uploads = {}

    def put(self, key, stored):
        if key not in self.objects:
            bisect.insort(self.sorted, key.encode())
        self.objects[key] = stored

    def delete(self, key):
        if self.objects.pop(key, None) is not None:
            del self.sorted[bisect.bisect_left(self.sorted, key.encode())]

    def list(self, prefix, delimiter, after, limit):
        """(keys, common prefixes, last entry or None when that was all). `after` is the key or
        common prefix behind which the page begins."""
        keys, prefixes = [], []
        first = prefix.encode()
        at = bisect.bisect_left(self.sorted, first)
        if after:
            at = max(at, bisect.bisect_right(self.sorted, after.encode()))
            if delimiter and after.startswith(prefix) and after.endswith(delimiter) and \
                    delimiter in after[len(prefix):]:
                at = max(at, self.behind(after))
        last = None
        while at < len(self.sorted) and self.sorted[at].startswith(first):
            if len(keys) + len(prefixes) >= limit:
                return keys, prefixes, last
            key = self.sorted[at].decode()
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end >= 0:
                last = key[:end + len(delimiter)]
                prefixes.append(last)
                at = self.behind(last)
            else:
                last = key
                keys.append(key)
                at += 1
        return keys, prefixes, None

    def behind(self, prefix):
        """Where the keys with a prefix end."""
        first = prefix.encode()
        return bisect.bisect_left(self.sorted, True, key=lambda key: key[:len(first)] > first)


_tags = itertools.count(1)


def etag_of(data, cheap):
    """The MD5 as S3 has it, or when `cheap` a number that never comes again."""
    if cheap:
        return f'"{next(_tags):032x}"'
    return f'"{hashlib.md5(data).hexdigest()}"'


def preload(bucket, folder, cheap):
    """Puts the files below a folder into a bucket, without reading what is large."""
    for path, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(path, name)
            with open(full, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size >= 1 << 20:
                    data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                else:
                    data = file.read()
            key = os.path.relpath(full, folder)
            bucket.put(key, Object(data, etag_of(data, cheap)))
