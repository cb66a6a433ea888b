#!/usr/bin/env python3
"""A small S3 server for tests: objects in memory, strict signatures, faults by script, a log.

usage: s3_server.py [--bucket NAME] [--preload DIRECTORY] [--delay-ms [N]] [options]

The first line on the standard output is "ready HOST PORT". How replies are spoilt is described in
faults.py, the control interface (faults, log, counts, settings) in control.py. Names of operations:
get_object head_object put_object delete_object delete_objects list_objects list_buckets
create_bucket head_bucket delete_bucket bucket_location create_upload upload_part complete_upload
abort_upload list_uploads list_parts.

What S3 has and this has not is answered with 501, so that nothing is ignored by mistake. Buckets
are in the path, or before one of the --domain names in Host.
"""

import argparse
import base64
import binascii
import hashlib
import itertools
import os
import re
import sys
import time
import xml.etree.ElementTree as ElementTree
from email.utils import formatdate
from urllib.parse import quote, quote_plus, unquote_to_bytes
from xml.sax.saxutils import escape

import http_loop
import s3_auth
import s3_objects
from http_loop import Reply
from s3_auth import Refusal

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
KEY_MAX = 1024
DELETE_MAX = 1000
PAGE_MAX = 1000
PART_MAX = 10000
PUT_MAX = 5 << 30
STORED_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding",
                  "content-language", "expires")
# Members of a query that do not choose an operation.
PLAIN = {"x-id"}
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
REGION = "us-east-1"


def text(value):
    """Text within XML; control characters as references, as S3 does."""
    return re.sub(r"[\x00-\x1f]", lambda m: f"&#x{ord(m.group()):x};", escape(value))


def xml(name, inner, status=200):
    body = f'{XML_HEAD}<{name} xmlns="{NAMESPACE}">{inner}</{name}>'
    return Reply(status, {"Content-Type": "application/xml"}, body.encode())


def iso_date(seconds):
    whole = int(seconds)
    stamp = time.gmtime(whole)
    return (f"{stamp.tm_year:04}-{stamp.tm_mon:02}-{stamp.tm_mday:02}T{stamp.tm_hour:02}:"
            f"{stamp.tm_min:02}:{stamp.tm_sec:02}.{int((seconds - whole) * 1000):03}Z")


def parse_xml(body, root):
    """The root element of a document, with its name checked and namespaces taken away."""
    try:
        tree = ElementTree.fromstring(bytes(body))
    except ElementTree.ParseError:
        raise malformed() from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise malformed()
    return tree


def malformed():
    return Refusal(400, "MalformedXML", "The XML you provided was not well-formed or did not "
                   "validate against our published schema")


def no_such_key(key):
    return Refusal(404, "NoSuchKey", "The specified key does not exist.", {"Key": key})


def precondition(name):
    return Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified "
                   "did not hold", {"Condition": name})


def not_implemented(what):
    return Refusal(501, "NotImplemented", f"A header or member you provided implies functionality "
                   f"that is not implemented: {what}")


def query_of(request):
    """The query as a dict; names without a value have an empty one."""
    pairs = {}
    for piece in request.query.split("&") if request.query else ():
        name, _, value = piece.partition("=")
        try:
            pairs[unquote_to_bytes(name).decode()] = \
                unquote_to_bytes(value.replace("+", " ")).decode()
        except UnicodeDecodeError:
            raise Refusal(400, "InvalidArgument", "a query that is not UTF-8") from None
    return pairs


def same_etag(condition, etag):
    tags = [tag.strip() for tag in condition.split(",")]
    return any(tag in ("*", etag, etag.strip('"')) for tag in tags)


class Application:
    def __init__(self, options):
        self.buckets = {}
        self.cheap = options.etag == "counter"
        self.auth = options.auth
        self.domains = [d.lower() for d in options.domain]
        self.min_part = options.min_part_size
        self.clock_offset = 0.0
        self.numbers = itertools.count(1)
        self.verifier = s3_auth.Verifier(
            [{"access_key": options.access_key, "secret_key": options.secret_key,
              "session_token": options.session_token}], options.region,
            lambda: time.time() + self.clock_offset)
        for name in options.bucket:
            self.buckets[name] = s3_objects.Bucket(name, options.conditions)
        if options.preload:
            s3_objects.preload(next(iter(self.buckets.values())), options.preload, self.cheap)

    # --- what http_loop.py asks for ---

    def describe(self, request):
        """Sets bucket, key and operation."""
        path = unquote_to_bytes(request.path).decode()
        if not path.startswith("/"):
            raise ValueError("not an absolute path")
        bucket = self.bucket_of_host(request.headers.get("host", ""))
        if bucket is None:
            bucket, _, key = path[1:].partition("/")
        else:
            key = path[1:]
        request.bucket = bucket
        request.key = key
        if not request.query:
            level = 2 if key else 1 if bucket else 0
            request.operation = OPERATIONS.get((level, request.method, ""), "unknown")
            return
        names = {piece.partition("=")[0] for piece in request.query.split("&")} - PLAIN
        request.operation = operation_of(request.method, bucket, key, names)
        if request.operation == "list_objects":
            # What is listed is the prefix: faults and logs are about that.
            match = re.search(r"(?:^|&)prefix=([^&]*)", request.query)
            request.key = unquote_to_bytes(match.group(1)).decode() if match else ""

    def bucket_of_host(self, host):
        name = host.rsplit(":", 1)[0].lower()
        for domain in self.domains:
            if name.endswith("." + domain):
                return name[:-len(domain) - 1]
        return None

    def refuse(self, request):
        try:
            if self.auth == "strict":
                self.verifier.verify(request)
        except Refusal as refusal:
            return self.refusal(refusal, request)
        return None

    def answer(self, request):
        try:
            function = getattr(self, request.operation, None)
            if request.operation not in NAMES or function is None:
                raise not_implemented(f"{request.method} {request.target}")
            return function(request)
        except Refusal as refusal:
            return self.refusal(refusal, request)

    def error(self, status, code, message, request):
        return self.refusal(Refusal(status, code, message), request)

    def refusal(self, refusal, request):
        extra = "".join(f"<{name}>{text(value)}</{name}>"
                        for name, value in refusal.extra.items() if name[0] != "@")
        body = (f"{XML_HEAD}<Error><Code>{refusal.code}</Code>"
                f"<Message>{text(refusal.message)}</Message>{extra}"
                f"<Resource>{text(request.path)}</Resource>"
                f"<RequestId>{request.number:016X}</RequestId></Error>")
        headers = {"Content-Type": "application/xml",
                   "x-amz-request-id": f"{request.number:016X}"}
        for name, value in refusal.extra.items():
            if name[0] == "@":
                headers[name[1:]] = value
        if refusal.status == 304:
            return Reply(304, {"ETag": refusal.extra.get("@ETag")})
        if request.method == "HEAD":
            return Reply(refusal.status, headers)
        return Reply(refusal.status, headers, body.encode())

    def configure(self, settings):
        for name, value in settings.items():
            if name == "credentials":
                self.verifier.credentials = {c["access_key"]: c for c in value}
            elif name == "region":
                self.verifier.region = value
            elif name == "auth" and value in ("strict", "off"):
                self.auth = value
            elif name == "clock_offset_s":
                self.clock_offset = value
            elif name == "min_part_size":
                self.min_part = value
            elif name == "bucket":
                bucket = self.buckets.setdefault(value["name"], s3_objects.Bucket(value["name"]))
                conditions = value.get("conditions", bucket.conditions)
                if conditions not in s3_objects.CONDITIONS:
                    raise ValueError(f'conditions are one of {s3_objects.CONDITIONS}')
                bucket.conditions = conditions
            else:
                raise ValueError(f'no setting "{name}" of the value "{value}"')

    def change(self, bucket_name, key, body, delete):
        """An object as somebody else changes it."""
        bucket = self.buckets[bucket_name]
        if delete:
            bucket.delete(key)
            return
        if body is None:
            known = bucket.objects.get(key)
            if known is None:
                return
            body = bytearray(known.data)
            if body:
                body[len(body) // 2] ^= 1
            else:
                body = b"changed"
        bucket.put(key, self.stored(bytes(body), {}))

    def content(self, bucket_name, key):
        stored = self.buckets[bucket_name].objects.get(key)
        return None if stored is None else stored.data

    def fill(self, bucket_name, objects):
        """A bucket with these objects and nothing else."""
        bucket = s3_objects.Bucket(bucket_name, self.buckets[bucket_name].conditions)
        for key, body in objects.items():
            bucket.put(key, self.stored(body, {}))
        self.buckets[bucket_name] = bucket

    def tags(self, bucket_name):
        return {key: stored.etag for key, stored in self.buckets[bucket_name].objects.items()}

    def copy(self, bucket_name, source, target):
        """Makes the objects below one prefix those below another as well; tells how many."""
        bucket = self.buckets[bucket_name]
        for key in [key for key in bucket.objects if key.startswith(target)]:
            bucket.delete(key)
        found = {key: stored for key, stored in bucket.objects.items() if key.startswith(source)}
        for key, stored in found.items():
            bucket.put(target + key[len(source):], stored)
        return len(found)

    # --- helpers ---

    def stored(self, data, headers):
        return s3_objects.Object(data, s3_objects.etag_of(data, self.cheap), headers)

    def bucket(self, request):
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist",
                          {"BucketName": request.bucket})
        return bucket

    def found(self, request):
        stored = self.bucket(request).objects.get(request.key)
        if stored is None:
            raise no_such_key(request.key)
        return stored

    def check_write(self, bucket, key, headers):
        """The conditions of a write."""
        match = headers.get("if-match")
        none_match = headers.get("if-none-match")
        if match is None and none_match is None or bucket.conditions == "ignore":
            return
        if bucket.conditions == "refuse":
            raise not_implemented("conditional writes")
        known = bucket.objects.get(key)
        if none_match is not None:
            if none_match != "*":
                raise not_implemented("If-None-Match of a write other than *")
            if known is not None:
                raise precondition("If-None-Match")
        if match is not None and bucket.conditions != "if-none-match":
            if known is None:
                raise no_such_key(key)
            if not same_etag(match, known.etag):
                raise precondition("If-Match")

    @staticmethod
    def kept_headers(request):
        headers = request.headers
        for name in headers:
            if name in ("x-amz-copy-source", "x-amz-server-side-encryption", "x-amz-acl",
                        "x-amz-tagging", "x-amz-object-lock-mode", "x-amz-decoded-content-length"):
                raise not_implemented(name)
        return {name: value for name, value in headers.items()
                if name in STORED_HEADERS or name.startswith("x-amz-meta-")}

    # --- objects ---

    def get_object(self, request):
        stored = self.found(request)
        headers = request.headers
        if "if-match" in headers and not same_etag(headers["if-match"], stored.etag):
            raise precondition("If-Match")
        if "if-none-match" in headers and same_etag(headers["if-none-match"], stored.etag):
            raise Refusal(304, "NotModified", "", {"@ETag": stored.etag})
        for name in ("if-modified-since", "if-unmodified-since"):
            if name in headers and "if-match" not in headers and "if-none-match" not in headers:
                raise not_implemented(name)
        reply = Reply(200, {
            "ETag": stored.etag, "Last-Modified": formatdate(stored.modified, usegmt=True),
            "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream",
        }, stored.data)
        for name, value in stored.headers.items():
            if not name.startswith("x-amz-checksum-"):
                reply.headers[name.title() if name[0] == "c" else name] = value
            elif headers.get("x-amz-checksum-mode") == "ENABLED" and request.range is None:
                reply.headers[name] = value
        if request.range is not None:
            self.cut_range(request.range, reply)
        return reply

    head_object = get_object

    @staticmethod
    def cut_range(asked, reply):
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
        if not match or asked == "bytes=-":
            return  # as S3: what is not one range is the whole object
        size = len(reply.body)
        if match.group(1):
            first = int(match.group(1))
            last = int(match.group(2)) if match.group(2) else size - 1
            if match.group(2) and last < first:
                return
        else:
            first = max(0, size - int(match.group(2)))
            last = size - 1
        if first >= size:
            raise Refusal(416, "InvalidRange", "The requested range is not satisfiable",
                          {"ActualObjectSize": str(size), "@Content-Range": f"bytes */{size}"})
        last = min(last, size - 1)
        reply.status = 206
        reply.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        reply.body = memoryview(reply.body)[first:last + 1]

    def put_object(self, request):
        bucket = self.bucket(request)
        if len(request.key.encode()) > KEY_MAX:
            raise Refusal(400, "KeyTooLongError", "Your key is too long")
        if len(request.body) > PUT_MAX:
            raise Refusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum")
        if "content-length" not in request.headers:
            raise Refusal(411, "MissingContentLength", "You must provide Content-Length")
        kept = self.kept_headers(request)
        checksums = s3_auth.check_body(request)
        self.check_write(bucket, request.key, request.headers)
        stored = self.stored(request.body, {**kept, **checksums})
        bucket.put(request.key, stored)
        return Reply(200, {"ETag": stored.etag, **checksums})

    def delete_object(self, request):
        bucket = self.bucket(request)
        for name in ("if-match", "if-none-match"):
            if name in request.headers:
                raise not_implemented(f"{name} of a DELETE")
        bucket.delete(request.key)
        return Reply(204)

    def delete_objects(self, request):
        bucket = self.bucket(request)
        if "content-md5" not in request.headers and \
                not any(name in request.headers for name in s3_auth.CHECKSUMS):
            raise Refusal(400, "InvalidRequest", "Missing required header for this request: "
                          "Content-MD5 OR x-amz-checksum-*")
        s3_auth.check_body(request)
        tree = parse_xml(request.body, "Delete")
        keys = [element.findtext("Key") for element in tree.findall("Object")]
        if not 1 <= len(keys) <= DELETE_MAX or None in keys:
            raise malformed()
        quiet = (tree.findtext("Quiet") or "").lower() == "true"
        lines = []
        for key in keys:
            if request.names and request.names[0].match(key):
                _, code, message = request.names
                lines.append(f"<Error><Key>{text(key)}</Key><Code>{code}</Code>"
                             f"<Message>{text(message)}</Message></Error>")
                continue
            bucket.delete(key)
            if not quiet:
                lines.append(f"<Deleted><Key>{text(key)}</Key></Deleted>")
        return xml("DeleteResult", "".join(lines))

    def list_objects(self, request):
        bucket = self.bucket(request)
        query = query_of(request)
        unknown = set(query) - LISTING - PLAIN
        if query.get("list-type") != "2" or unknown:
            raise not_implemented(f"a listing with {sorted(unknown) or 'list-type=1'}")
        limit = query.get("max-keys", str(PAGE_MAX))
        if not limit.isascii() or not limit.isdigit():
            raise Refusal(400, "InvalidArgument", "Provided max-keys not an integer")
        limit = min(int(limit), PAGE_MAX)
        encoding = query.get("encoding-type")
        if encoding not in (None, "url"):
            raise Refusal(400, "InvalidArgument", "Invalid Encoding Method specified in Request")
        token = query.get("continuation-token")
        after = query.get("start-after", "")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if token is not None:
            try:
                after = base64.b64decode(token, b"-_", validate=True).decode()
            except (binascii.Error, ValueError):
                raise Refusal(400, "InvalidArgument", "The continuation token provided is "
                              "incorrect") from None
        keys, prefixes, last = bucket.list(prefix, delimiter, after, limit) if limit else ([], [],
                                                                                          None)

        def name(value):
            return text(quote_plus(value, safe="/") if encoding else value)

        lines = [f"<Name>{text(bucket.name)}</Name><Prefix>{name(prefix)}</Prefix>",
                 f"<KeyCount>{len(keys) + len(prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>",
                 f"<IsTruncated>{'true' if last is not None else 'false'}</IsTruncated>"]
        if delimiter:
            lines.append(f"<Delimiter>{name(delimiter)}</Delimiter>")
        if encoding:
            lines.append(f"<EncodingType>{encoding}</EncodingType>")
        if token is not None:
            lines.append(f"<ContinuationToken>{text(token)}</ContinuationToken>")
        if query.get("start-after"):
            lines.append(f"<StartAfter>{name(query['start-after'])}</StartAfter>")
        if last is not None:
            token = base64.urlsafe_b64encode(last.encode()).decode()
            lines.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        for key in keys:
            stored = bucket.objects[key]
            lines.append(f"<Contents><Key>{name(key)}</Key><LastModified>"
                         f"{iso_date(stored.modified)}</LastModified><ETag>{text(stored.etag)}"
                         f"</ETag><Size>{len(stored.data)}</Size><StorageClass>STANDARD"
                         f"</StorageClass></Contents>")
        for common in prefixes:
            lines.append(f"<CommonPrefixes><Prefix>{name(common)}</Prefix></CommonPrefixes>")
        return xml("ListBucketResult", "".join(lines))

    # --- uploads in parts ---

    def create_upload(self, request):
        bucket = self.bucket(request)
        headers = self.kept_headers(request)
        name = f"upload-{next(self.numbers)}-{os.urandom(8).hex()}"
        bucket.uploads[name] = s3_objects.Upload(request.key, headers)
        return xml("InitiateMultipartUploadResult", f"<Bucket>{text(bucket.name)}</Bucket>"
                   f"<Key>{text(request.key)}</Key><UploadId>{name}</UploadId>")

    def upload(self, request, query):
        bucket = self.bucket(request)
        upload = bucket.uploads.get(query.get("uploadId", ""))
        if upload is None or upload.key != request.key:
            raise Refusal(404, "NoSuchUpload", "The specified upload does not exist. The upload ID "
                          "may be invalid, or the upload may have been aborted or completed.",
                          {"UploadId": query.get("uploadId", "")})
        return bucket, upload

    def upload_part(self, request):
        query = query_of(request)
        number = query.get("partNumber", "")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= PART_MAX:
            raise Refusal(400, "InvalidArgument", "Part number must be an integer between 1 and "
                          f"{PART_MAX}, inclusive")
        if len(request.body) > PUT_MAX:
            raise Refusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum")
        self.kept_headers(request)
        checksums = s3_auth.check_body(request)
        _, upload = self.upload(request, query)
        part = self.stored(request.body, checksums)
        upload.parts[int(number)] = part
        return Reply(200, {"ETag": part.etag, **checksums})

    def complete_upload(self, request):
        query = query_of(request)
        s3_auth.check_body(request)
        bucket, upload = self.upload(request, query)
        tree = parse_xml(request.body, "CompleteMultipartUpload")
        parts, previous = [], 0
        for element in tree.findall("Part"):
            number = element.findtext("PartNumber") or ""
            if not number.isascii() or not number.isdigit():
                raise malformed()
            if int(number) <= previous:
                raise Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending "
                              "order.")
            previous = int(number)
            parts.append(self.checked_part(upload, element, previous))
        if not parts:
            raise malformed()
        for part in parts[:-1]:
            if len(part.data) < self.min_part:
                raise Refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the "
                              "minimum allowed size")
        self.check_write(bucket, request.key, request.headers)
        data = b"".join(part.data for part in parts)
        stored = self.stored(b"", dict(upload.headers))
        stored.data = data
        if not self.cheap:
            tags = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
            stored.etag = f'"{hashlib.md5(tags).hexdigest()}-{len(parts)}"'
        bucket.put(request.key, stored)
        del bucket.uploads[query["uploadId"]]
        return xml("CompleteMultipartUploadResult",
                   f"<Location>/{quote(bucket.name)}/{quote(request.key)}</Location>"
                   f"<Bucket>{text(bucket.name)}</Bucket><Key>{text(request.key)}</Key>"
                   f"<ETag>{text(stored.etag)}</ETag>")

    @staticmethod
    def checked_part(upload, element, number):
        part = upload.parts.get(number)
        etag = (element.findtext("ETag") or "").strip('"')
        wrong = part is None or etag != part.etag.strip('"')
        for name in ("SHA256", "SHA1", "CRC32", "CRC32C"):
            given = element.findtext(f"Checksum{name}")
            known = part.headers.get(f"x-amz-checksum-{name.lower()}") if part else None
            wrong = wrong or given is not None and given != known
        if wrong:
            raise Refusal(400, "InvalidPart", "One or more of the specified parts could not be "
                          "found. The part may not have been uploaded, or the specified entity tag "
                          "may not match the part's entity tag.", {"PartNumber": str(number)})
        return part

    def abort_upload(self, request):
        query = query_of(request)
        bucket, _ = self.upload(request, query)
        del bucket.uploads[query["uploadId"]]
        return Reply(204)

    def list_parts(self, request):
        query = query_of(request)
        if set(query) - {"uploadId"} - PLAIN:
            raise not_implemented("paging of parts")
        _, upload = self.upload(request, query)
        lines = [f"<Key>{text(upload.key)}</Key><UploadId>{text(query['uploadId'])}</UploadId>"
                 "<IsTruncated>false</IsTruncated>"]
        for number, part in sorted(upload.parts.items()):
            lines.append(f"<Part><PartNumber>{number}</PartNumber><LastModified>"
                         f"{iso_date(part.modified)}</LastModified><ETag>{text(part.etag)}</ETag>"
                         f"<Size>{len(part.data)}</Size></Part>")
        return xml("ListPartsResult", "".join(lines))

    def list_uploads(self, request):
        bucket = self.bucket(request)
        query = query_of(request)
        if set(query) - {"uploads", "prefix", "max-uploads", "encoding-type"} - PLAIN:
            raise not_implemented("paging of uploads")
        prefix = query.get("prefix", "")
        lines = [f"<Bucket>{text(bucket.name)}</Bucket><IsTruncated>false</IsTruncated>"]
        found = sorted((u.key.encode(), name, u) for name, u in bucket.uploads.items()
                       if u.key.startswith(prefix))
        for _, name, upload in found:
            key = quote_plus(upload.key, safe="/") if "encoding-type" in query else upload.key
            lines.append(f"<Upload><Key>{text(key)}</Key><UploadId>{name}</UploadId><Initiated>"
                         f"{iso_date(upload.started)}</Initiated></Upload>")
        return xml("ListMultipartUploadsResult", "".join(lines))

    # --- buckets ---

    def create_bucket(self, request):
        if request.bucket in self.buckets:
            raise Refusal(409, "BucketAlreadyOwnedByYou", "Your previous request to create the "
                          "named bucket succeeded and you already own it.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", request.bucket):
            raise Refusal(400, "InvalidBucketName", "The specified bucket is not valid.")
        self.buckets[request.bucket] = s3_objects.Bucket(request.bucket)
        return Reply(200, {"Location": f"/{request.bucket}"})

    def head_bucket(self, request):
        self.bucket(request)
        return Reply(200, {"x-amz-bucket-region": self.verifier.region})

    def delete_bucket(self, request):
        if self.bucket(request).objects:
            raise Refusal(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
        del self.buckets[request.bucket]
        return Reply(204)

    def bucket_location(self, request):
        self.bucket(request)
        region = "" if self.verifier.region == "us-east-1" else self.verifier.region
        return xml("LocationConstraint", text(region))

    def list_buckets(self, _):
        names = "".join(f"<Bucket><Name>{text(name)}</Name><CreationDate>{iso_date(0)}"
                        "</CreationDate></Bucket>" for name in sorted(self.buckets))
        return xml("ListAllMyBucketsResult", f"<Buckets>{names}</Buckets>")


# (0 service, 1 bucket, 2 object), method, member of the query that chooses
OPERATIONS = {
    (0, "GET", ""): "list_buckets",
    (1, "PUT", ""): "create_bucket",
    (1, "HEAD", ""): "head_bucket",
    (1, "DELETE", ""): "delete_bucket",
    (1, "GET", ""): "list_objects",
    (1, "GET", "location"): "bucket_location",
    (1, "GET", "uploads"): "list_uploads",
    (1, "POST", "delete"): "delete_objects",
    (2, "GET", ""): "get_object",
    (2, "HEAD", ""): "head_object",
    (2, "PUT", ""): "put_object",
    (2, "DELETE", ""): "delete_object",
    (2, "POST", "uploads"): "create_upload",
    (2, "PUT", "uploadId"): "upload_part",
    (2, "POST", "uploadId"): "complete_upload",
    (2, "DELETE", "uploadId"): "abort_upload",
    (2, "GET", "uploadId"): "list_parts",
}
NAMES = set(OPERATIONS.values())
# Members that go with those.
LISTING = {"list-type", "prefix", "delimiter", "continuation-token", "max-keys", "start-after",
           "encoding-type", "fetch-owner"}
FURTHER = LISTING | {"partNumber", "max-uploads"}


def operation_of(method, bucket, key, names):
    level = 2 if key else 1 if bucket else 0
    for chooser in ("uploadId", "uploads", "delete", "location"):
        if chooser in names:
            return OPERATIONS.get((level, method, chooser), "unknown")
    if names - FURTHER or (names and level == 2):
        return "unknown"
    return OPERATIONS.get((level, method, ""), "unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    http_loop.add_arguments(parser)
    parser.add_argument("--bucket", action="append", help="bucket that exists (test-bucket)")
    parser.add_argument("--preload", help="files below this directory are objects of the first one")
    parser.add_argument("--conditions", choices=s3_objects.CONDITIONS, default="honour",
                        help="what these buckets do with conditions of a write")
    parser.add_argument("--auth", choices=("strict", "off"), default="strict")
    parser.add_argument("--access-key", default=ACCESS_KEY)
    parser.add_argument("--secret-key", default=SECRET_KEY)
    parser.add_argument("--session-token")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--domain", action="append", default=["localhost", "s3.test"],
                        help="a bucket may stand before this in Host")
    parser.add_argument("--etag", choices=("md5", "counter"), default="md5",
                        help="a counter costs nothing for large objects")
    parser.add_argument("--min-part-size", type=int, default=5 << 20)
    options = parser.parse_args()
    options.bucket = options.bucket or ["test-bucket"]
    server = http_loop.Server(Application(options), options.delay_ms, options.record_headers)
    http_loop.serve(server, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
