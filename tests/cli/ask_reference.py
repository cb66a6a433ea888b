"""What the reference does, for reference.py: run by the Python that has it. Each line of the
standard input is a request as JSON, each line of the standard output its answer."""
import base64
import json
import sys
import tempfile
import traceback
import uuid

import numpy as np
from shardyfusion import (HashShardedWriteConfig, KeyValueWriteConfig, PythonRecordInput,
                          ShardedReader, StaticCredentialProvider, VectorSpec, WriterManifestConfig,
                          WriterOutputConfig, WriterStorageConfig)
from shardyfusion.manifest_store import S3ManifestStore
from shardyfusion.reader.unified_reader import UnifiedShardedReader
from shardyfusion.sharding_types import KeyEncoding
from shardyfusion.sqlite_adapter import (AdaptiveSqliteReaderFactory, SqliteFactory,
                                         SqliteRangeReaderFactory, SqliteReaderFactory)
from shardyfusion.sqlite_vec_adapter import (AdaptiveSqliteVecReaderFactory, SqliteVecFactory,
                                             SqliteVecRangeReaderFactory, SqliteVecReaderFactory)
from shardyfusion.storage import ObstoreBackend, create_s3_store
from shardyfusion.writer.python import write_hash_sharded


class Place:
    """A data set: its prefix, how its bucket is reached, where its manifests are."""

    def __init__(self, request):
        self.prefix = request["prefix"]
        self.provider = StaticCredentialProvider(access_key_id=request["access_key"],
                                                 secret_access_key=request["secret_key"])
        self.options = {"endpoint_url": request["endpoint"], "region_name": request["region"],
                        "addressing_style": "path"}
        self.postgres = request.get("postgres")

    def manifests(self):
        if self.postgres:
            import psycopg2
            from shardyfusion.db_manifest_store import PostgresManifestStore
            return PostgresManifestStore(
                lambda: psycopg2.connect(self.postgres["dsn"]),
                table_name=self.postgres["table"], pointer_table_name=self.postgres["pointer"])
        bucket = self.prefix.removeprefix("s3://").split("/")[0]
        store = create_s3_store(bucket, self.provider.resolve(), self.options)
        return S3ManifestStore(ObstoreBackend(store), self.prefix)

    def reader(self, request):
        is_unified = bool(request.get("vectors"))
        modes = {"download": (SqliteReaderFactory, SqliteVecReaderFactory),
                 "range": (SqliteRangeReaderFactory, SqliteVecRangeReaderFactory),
                 "auto": (AdaptiveSqliteReaderFactory, AdaptiveSqliteVecReaderFactory)}
        make = modes[request["mode"]][is_unified]
        remote = {"credential_provider": self.provider, "s3_connection_options": self.options}
        return (UnifiedShardedReader if is_unified else ShardedReader)(
            s3_prefix=self.prefix, local_root=tempfile.mkdtemp(dir=request["tmp"]),
            manifest_store=self.manifests(), credential_provider=self.provider,
            s3_connection_options=self.options,
            reader_factory=make(**remote))


def key_of(key):
    return base64.b64decode(key["b64"]) if isinstance(key, dict) else key


def text_of(value):
    return None if value is None else base64.b64encode(value).decode()


def read(place, request):
    keys = [key_of(key) for key in request["keys"]]
    with place.reader(request) as reader:
        batch = reader.multi_get(keys)
        return {
            "run_id": reader.snapshot_info().run_id,
            "rows": sum(shard.row_count for shard in reader.shard_details()),
            "get": [text_of(reader.get(key)) for key in keys],
            "multi_get": [text_of(batch[key]) for key in keys],
            "search": [[[hit.id, hit.score, hit.payload] for hit in
                        reader.search(np.array(v, dtype=np.float32), request["top_k"]).results]
                       for v in request.get("vectors", [])],
        }


def history(place, request):
    manifests = place.manifests()
    current = manifests.load_current()
    return {"current": current.run_id,
            "runs": [ref.run_id for ref in manifests.list_manifests(limit=request["limit"])]}


def rollback(place, request):
    manifests = place.manifests()
    ref, = [r for r in manifests.list_manifests(limit=100) if r.run_id == request["run_id"]]
    manifests.set_current(ref.ref)
    return {"ref": ref.ref}


def build(place, request):
    dim = len(request["rows"][0].get("vector", []))
    spec = VectorSpec(dim=dim, metric=request["metric"]) if dim else None
    remote = {"credential_provider": place.provider, "s3_connection_options": place.options}
    factory = SqliteVecFactory(vector_spec=spec, **remote) if dim else SqliteFactory(**remote)
    config = HashShardedWriteConfig(
        num_dbs=request["num_dbs"], vector=spec,
        storage=WriterStorageConfig(s3_prefix=place.prefix, **remote),
        output=WriterOutputConfig(run_id=request.get("run_id", uuid.uuid4().hex),
                                  local_root=tempfile.mkdtemp(dir=request["tmp"])),
        manifest=WriterManifestConfig(store=place.manifests(), **remote),
        kv=KeyValueWriteConfig(key_encoding=KeyEncoding(request["key_encoding"]),
                               adapter_factory=factory))
    result = write_hash_sharded(request["rows"], config, PythonRecordInput(
        key_fn=lambda row: key_of(row["key"]), value_fn=lambda row: row["value"].encode(),
        vector_fn=(lambda row: (row["key"], np.array(row["vector"], dtype=np.float32),
                                row.get("payload"))) if dim else None))
    return {"run_id": result.run_id, "ref": result.manifest_ref}


def main():
    calls = {"read": read, "history": history, "rollback": rollback, "build": build}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = calls[request["call"]](Place(request), request)
        except Exception:  # whatever it is: the one who asked has to know
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
