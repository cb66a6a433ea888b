"""Cases of run.py over object storage: what is asked of it, limits, predictions."""

import json
import os
import shutil
import subprocess
import urllib.request

from cases_python import HERE, answer, ask, environment, test


class Bucket:
    """Our S3 server, with the environment that the command reaches it with."""

    def __init__(self, delay_ms=20):
        script = os.path.join(os.path.dirname(HERE), "servers", "s3_server.py")
        self.process = subprocess.Popen(
            ["python3", script, "--until-eof", "--delay-ms", str(delay_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        assert ready and ready[0] == "ready", ready
        self.url = f"http://{ready[1]}:{ready[2]}"
        self.env = {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1",
                    "AWS_ACCESS_KEY_ID": "test-access-key",
                    "AWS_SECRET_ACCESS_KEY": "test-secret-key"}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def control(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}/_control/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    def counts(self):
        lines = self.control("GET", "counts").splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}


def rows_file(path, count):
    with open(path, "w", encoding="utf-8") as file:
        for i in range(count):
            file.write(json.dumps({"key": f"key-{i:08}", "value": "x" * 80}) + "\n")


def stats_of(done):
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b'{"op": "s')]
    assert len(found) == 1, done.stderr
    return found[0]


def same_requests(stats, counts):
    """What the command has counted is what the server has seen."""
    kinds = {"get": ("operation.get_object",), "head": ("operation.head_object",),
             "put": ("operation.put_object", "operation.create_upload", "operation.upload_part",
                     "operation.complete_upload"),
             "list": ("operation.list_objects",),
             "delete": ("operation.delete_object", "operation.delete_objects",
                        "operation.abort_upload")}
    for kind, names in kinds.items():
        seen = sum(counts.get(name, 0) for name in names)
        assert stats["requests"][kind] == seen, (kind, stats, counts)
    assert stats["bytes_sent"] == counts["bytes_in"], (stats, counts)


@test
def stats(shardy, tmp):
    """stats: the requests, bytes and round trips of a command are those that the server saw"""
    with Bucket(delay_ms=50) as bucket:
        url = "s3://test-bucket/data"
        rows_file(os.path.join(tmp, "rows"), 40000)
        commands = [
            ("build", url, "--input", "rows", "--input-format", "jsonl", "--run-id", "r1", "-q"),
            ("-s", url, "get", "key-00000777", "--sqlite-mode", "range"),
            ("-s", url, "multiget", "key-00000001", "key-00039000", "absent", "--sqlite-mode",
             "range"),
            ("-s", url, "get", "key-00000777", "--sqlite-mode", "download"),
            ("-s", url, "history"), ("-s", url, "pin", "kept"), ("-s", url, "verify", "-q"),
            ("-s", url, "cleanup", "-q")]
        for command in commands:
            bucket.control("DELETE", "log")
            found = stats_of(ask(shardy, tmp, *command, "--stats", env=bucket.env))
            counts = bucket.counts()
            same_requests(found, counts)
            # requests that were sent together may have come one after the other
            assert 1 <= found["round_trips"] <= counts["round_trips"], (command, found, counts)
            assert (found["requests"]["failed"], found["retries"]) == (0, 0), found
        for expected in ({"hits": 0, "fills": 1, "bypasses": 0},
                         {"hits": 1, "fills": 0, "bypasses": 0}):
            found = stats_of(ask(shardy, tmp, "-s", url, "get", "key-00000777", "--sqlite-mode",
                                 "download", "--cache-dir", "cache", "--stats", env=bucket.env))
            assert found["file_cache"] == expected, found
        rule = {"kind": "status", "status": 503, "operation": "get_object", "times": 2}
        bucket.control("POST", "faults", rule)
        bucket.control("DELETE", "log")
        found = stats_of(ask(shardy, tmp, "-s", url, "info", "--stats", env=bucket.env))
        same_requests(found, bucket.counts())
        assert (found["requests"]["failed"], found["retries"]) == (2, 2), found
        done = ask(shardy, tmp, "-s", url, "get", "key-00000777", "--sqlite-mode", "range",
                   "--stats", "--output-format", "text", env=bucket.env)
        table = done.stderr.decode().splitlines()
        assert table[0].split() == ["what", "count"], table
        trips = [line.split()[-1] for line in table if line.startswith("round trips")]
        assert trips in (["3"], ["4"]), table
    done = ask(shardy, tmp, "build", "snap", "--input", "rows", "--input-format", "jsonl", "-q")
    found = stats_of(ask(shardy, tmp, "-s", "snap", "get", "key-00000777", "--stats"))
    assert found["requests"]["get"] is None and found["round_trips"] is None, found
    assert found["store"]["opens"] >= 1 and found["store"]["reads"] >= 2, found


@test
def limits(shardy, tmp):
    """limits: requests and bytes of each second are bounded, also those of retries"""
    with Bucket(delay_ms=0) as bucket:
        url = "s3://test-bucket/data"
        rows_file(os.path.join(tmp, "rows"), 1000)
        ask(shardy, tmp, "build", url, "--input", "rows", "--input-format", "jsonl", "-q",
            env=bucket.env)
        # the bucket of tokens holds one second's worth: who takes more than that has to wait
        limited = ("-s", url, "--max-requests-per-second", "1", "--stats", "--timeout")
        late = ask(shardy, tmp, *limited, "0.001", "get", "key-00000001", code=1, env=bucket.env)
        assert b'"TIMEOUT"' in late.stderr, late.stderr
        found = stats_of(ask(shardy, tmp, "-s", url, "--max-requests-per-second", "2", "--stats",
                             "get", "key-00000001", env=bucket.env))
        assert found["limit_waits"] > 0, found
        found = stats_of(ask(shardy, tmp, "-s", url, "--max-requests-per-second", "1000", "--stats",
                             "get", "key-00000001", env=bucket.env))
        assert found["limit_waits"] == 0, found
        found = stats_of(ask(shardy, tmp, "-s", url, "--max-bytes-per-second", "100K", "--stats",
                             "get", "key-00000001", env=bucket.env))
        assert found["limit_waits"] > 0, found
        rule = {"kind": "status", "status": 503, "operation": "get_object", "times": 1}
        bucket.control("POST", "faults", rule)
        found = stats_of(ask(shardy, tmp, "-s", url, "--max-requests-per-second", "1000", "--stats",
                             "info", env=bucket.env))
        assert found["retries"] == 1, found
    # of directories as well, by path, URL and name of the pointer
    ask(shardy, tmp, "build", "new", "--input", "rows", "--input-format", "jsonl", "-q",
        "--max-requests-per-second", "1000")
    here = os.path.join(tmp, "new")
    for place in ("new", "new/_CURRENT", f"file://{here}", f"file://localhost{here}/_CURRENT"):
        found = stats_of(ask(shardy, tmp, "-s", place, "--max-requests-per-second", "2", "--stats",
                             "get", "key-00000001"))
        assert found["limit_waits"] > 0, (place, found)
    gone = ask(shardy, tmp, "-s", "nowhere", "--max-requests-per-second", "2", "info", code=1)
    assert b"nowhere" in gone.stderr, gone.stderr


@test
def limits_of_sessions(shardy, tmp):
    """limits: all lines of a session share one limit and one budget of retries"""
    with Bucket(delay_ms=0) as bucket:
        url = "s3://test-bucket/data"
        rows_file(os.path.join(tmp, "rows"), 10)
        for place in (url, "here"):
            ask(shardy, tmp, "build", place, "--input", "rows", "--input-format", "jsonl", "-q",
                env=bucket.env)
            done = ask(shardy, tmp, "-s", place, "--max-requests-per-second", "1000",
                       "--output-format", "jsonl", "--stats", stdin=b"history\n" * 5,
                       env=bucket.env)
            lines = done.stdout.splitlines()
            assert len(lines) == 5 and len(set(lines)) == 1, lines
            assert stats_of(done)["limit_waits"] == 0, done.stderr
        # every attempt is refused: a second layer of retries would multiply them
        bucket.control("POST", "faults", {"kind": "status", "status": 503, "times": 1000,
                                          "operation": "list_objects", "key": "*"})
        args = ("-s", url, "--max-requests-per-second", "1000", "--output-format", "jsonl",
                "--s3-option", "max_attempts=2", "--stats")
        before = stats_of(ask(shardy, tmp, *args, stdin=b"history\n", env=bucket.env))
        again = stats_of(ask(shardy, tmp, *args, stdin=b"history\n" * 3, env=bucket.env))
        assert (before["retries"], again["retries"]) == (1, 3), (before, again)


@test
def explain(shardy, tmp):
    """explain: what is predicted for open and get is what the server is asked, cold and warm"""
    def take(cost, done, bucket, exact, earlier=None):
        found = stats_of(done)
        seen = {"requests": sum(found["requests"][k] for k in ("get", "head", "list")),
                "bytes": found["store"]["read_bytes"]}
        same_requests(found, bucket.counts())
        for name, value in seen.items():
            predicted = cost[name] + (earlier[name] if earlier else 0)
            assert value <= predicted, (name, cost, earlier, found)
            if exact and name == "requests":
                assert value == predicted, (name, cost, earlier, found)
        if not earlier:
            # one more when the machine is busy: what could overlap has not
            assert found["round_trips"] <= cost["round_trips"] + 1, (cost, found)
            if exact:
                assert found["round_trips"] >= cost["round_trips"], (cost, found)

    with Bucket(delay_ms=50) as bucket:
        keys = ("key-00000001", "key-00019999")
        script = "commands: [" + ",".join(f"{{op: get, key: {key}}}" for key in keys) + "]"
        for count, sidecar, mode in ((200, "always", "range"), (200, "never", "range"),
                                     (40000, "always", "range"), (40000, "never", "range"),
                                     (40000, "always", "download"), (200, "always", "download"),
                                     (40000, "always", "auto")):
            url = f"s3://test-bucket/{count}-{sidecar}-{mode}"
            rows_file(os.path.join(tmp, "rows"), count)
            ask(shardy, tmp, "build", url, "--input", "rows", "--input-format", "jsonl", "-q",
                "--num-dbs", "1", "--sidecar", sidecar, env=bucket.env)
            options = ("-s", url, "--sqlite-mode", mode, "--stats")
            bucket.control("DELETE", "log")
            done = ask(shardy, tmp, *options, "explain", "open", env=bucket.env)
            told = json.loads(done.stdout)
            assert told["exact"] and told["cold"] == told["open"], told
            take(told["open"], done, bucket, True)
            # it reads no more than that for a key either
            bucket.control("DELETE", "log")
            done = ask(shardy, tmp, *options, "explain", "get", keys[0], env=bucket.env)
            told = json.loads(done.stdout)
            take(told["open"], done, bucket, True)
            assert told["access"] == ("range" if mode == "range" else "download"), told
            large = count > 200 and mode == "range"
            assert told["sidecar"] == (large and sidecar == "always"), told
            assert told["exact"] == (not large or told["sidecar"]), told
            bucket.control("DELETE", "log")
            done = ask(shardy, tmp, *options, "get", keys[0], env=bucket.env)
            take(told["cold"], done, bucket, told["exact"])
            # a script opens its reader without a first key
            bucket.control("DELETE", "log")
            done = ask(shardy, tmp, *options, "exec", "--script", "-", stdin=script.encode(),
                       env=bucket.env)
            first = dict(told["cold"])
            if told["hint"] and not told["sidecar"]:
                first["requests"] -= 2
            take(told["warm"], done, bucket, told["exact"], first)
        # rows that go on in other pages: no promise, and at least so much
        url = "s3://test-bucket/long"
        with open(os.path.join(tmp, "long"), "w", encoding="utf-8") as file:
            for i in range(40):
                file.write(json.dumps({"key": f"key-{i:08}", "value": "x" * 100000}) + "\n")
        ask(shardy, tmp, "build", url, "--input", "long", "--input-format", "jsonl", "-q",
            "--sidecar", "always", env=bucket.env)
        options = ("-s", url, "--sqlite-mode", "range", "--stats")
        told = answer(shardy, tmp, *options, "explain", "get", keys[0], env=bucket.env)
        assert not told["exact"] and told["sidecar"], told
        found = stats_of(ask(shardy, tmp, *options, "get", keys[0], env=bucket.env))
        assert found["requests"]["get"] >= told["cold"]["requests"], (told, found)
        # by way of the cache of files: what filling it takes, then nothing
        options = ("-s", url, "--sqlite-mode", "download", "--cache-dir", "kept", "--stats")
        for turn in range(2):
            told = answer(shardy, tmp, *options, "explain", "get", keys[0], env=bucket.env)
            assert told["exact"], told
            bucket.control("DELETE", "log")
            done = ask(shardy, tmp, *options, "get", keys[0], env=bucket.env)
            take(told["cold"], done, bucket, True)
            assert (told["cold"]["requests"] == told["open"]["requests"]) == (turn == 1), told
        # a file that is there is used, whatever may be kept; another is not made, and that is said
        done = ask(shardy, tmp, *options, "--cache-size", "1M", "get", keys[0], env=bucket.env)
        assert stats_of(done)["file_cache"]["hits"] == 1 and b"warning" not in done.stderr, done
        shutil.rmtree(os.path.join(tmp, "kept"))
        done = ask(shardy, tmp, *options, "--cache-size", "1M", "get", keys[0], env=bucket.env)
        assert b"the cache of files may have 1048576 bytes" in done.stderr, done.stderr
        table = ask(shardy, tmp, "-s", url, "explain", "get", "key-1", "--output-format", "table",
                    env=bucket.env).stdout.decode()
        assert "round trips" in table and "access=download" in table, table
    ask(shardy, tmp, "build", "snap", "--input", "rows", "--input-format", "jsonl", "-q")
    told = answer(shardy, tmp, "-s", "snap", "explain", "get", keys[0])
    nothing = {"round_trips": 0, "requests": 0, "bytes": 0}
    assert told["access"] == "local" and told["cold"] == nothing and told["exact"], told
    ask(shardy, tmp, "-s", "snap", "explain", "search", code=1)
    for wrong in (("explain",), ("explain", "get"), ("explain", "open", "k"), ("explain", "all")):
        ask(shardy, tmp, "-s", "snap", *wrong, code=2)


def repository_script(name):
    return os.path.join(os.path.dirname(os.path.dirname(HERE)), "scripts", name)


@test
def s3_server(shardy, tmp):
    """s3-server: a shell takes what it prints, also of a server with TLS, and it explains itself"""
    rows_file(os.path.join(tmp, "rows"), 3)
    commands = ('eval "$("$1" $3)" && trap "kill $s3_server" EXIT && '
                '"$2" build s3://demo/set --input rows --input-format jsonl -q >/dev/null && '
                '"$2" -s s3://demo/set get key-00000001 && echo "$AWS_ENDPOINT_URL_S3"')
    for words, scheme in (("", "http"), ("--tls good", "https")):
        done = subprocess.run(["sh", "-c", commands, "sh", repository_script("s3-server"),
                               shardy.path, words], cwd=tmp, env=environment(tmp), timeout=60,
                              capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done
        found, url = done.stdout.splitlines()
        assert '"found": true' in found and url.startswith(f"{scheme}://"), done.stdout
    told = subprocess.run([repository_script("s3-server"), "--help"], capture_output=True,
                          text=True, env=environment(tmp), timeout=60)
    assert told.returncode == 0 and told.stderr == "", told
    assert "usage: scripts/s3-server" in told.stdout and "--tls" in told.stdout, told.stdout
