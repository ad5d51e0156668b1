# Calls nodes by grpcio, generated from proto/: argv has the folder of the generated code, then the address and the token of the node that is written through, and of
# another that is read through.
import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

generated, address, token, other_address, other_token = sys.argv[1:]
sys.path.insert(0, generated)

import grpc  # noqa: E402
from dfs.v1 import bucket_pb2, bucket_pb2_grpc, cluster_pb2, cluster_pb2_grpc, object_pb2, object_pb2_grpc  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402
from asking import check, failing, has_won, status_details  # noqa: E402

me, other_me = [("authorization", "Bearer " + token)], [("authorization", "Bearer " + other_token)]
with grpc.insecure_channel(address) as channel, grpc.insecure_channel(other_address) as other_channel:
    other_objects = object_pb2_grpc.ObjectServiceStub(other_channel)
    buckets = bucket_pb2_grpc.BucketServiceStub(channel)
    objects = object_pb2_grpc.ObjectServiceStub(channel)
    cluster = cluster_pb2_grpc.ClusterServiceStub(channel)

    made = buckets.CreateBucket(bucket_pb2.CreateBucketRequest(name="python", options=bucket_pb2.BucketOptions(copies=2)), metadata=me)
    check(made.bucket.options.copies == 2, "the bucket has its copies")
    error = failing(lambda: buckets.CreateBucket(bucket_pb2.CreateBucketRequest(name="python"), metadata=me))
    check(error.code() == grpc.StatusCode.ALREADY_EXISTS, error)

    body = bytes(range(256)) * 20_000

    def parts(key, data, end=True):
        yield object_pb2.PutObjectRequest(head=object_pb2.PutObjectHead(bucket="python", key=key, metadata={"from": "python"}, size_bytes=len(data)))
        for at in range(0, len(data), 1 << 20):
            yield object_pb2.PutObjectRequest(chunk=data[at:at + (1 << 20)])
        if end:
            yield object_pb2.PutObjectRequest(end=object_pb2.PutObjectEnd())

    stored = objects.PutObject(parts("ключ/é", body), metadata=me).object
    check(stored.size_bytes == len(body), "all of it is stored")
    digest, ended = hashlib.sha256(), False
    for part in other_objects.GetObject(object_pb2.GetObjectRequest(bucket="python", key="ключ/é", if_match=stored.etag), metadata=other_me):
        if part.WhichOneof("part") == "chunk":
            digest.update(part.chunk)
        ended = part.WhichOneof("part") == "end"
    check(ended and digest.digest() == hashlib.sha256(body).digest(), "the bytes are the same, to their end")
    ranged = objects.GetObject(object_pb2.GetObjectRequest(bucket="python", key="ключ/é", range=object_pb2.ByteRange(first=-3)), metadata=me)
    check(b"".join(part.chunk for part in ranged) == body[-3:], "the last three bytes")
    check([found.key for found in other_objects.ListObjects(object_pb2.ListObjectsRequest(bucket="python"), metadata=other_me).objects] == ["ключ/é"], "the listing has the key")
    check(failing(lambda: objects.PutObject(parts("half", body, end=False), metadata=me)).code() == grpc.StatusCode.INVALID_ARGUMENT, "a put without its end")

    # of many that race for one key, through two nodes, exactly one wins
    raced = object_pb2.StatObjectRequest(bucket="python", key="raced")

    def race(i):
        stub, metadata = (objects, me) if i % 2 else (other_objects, other_me)
        return has_won(
            lambda: stub.PutObject(absent_put("raced", i), metadata=metadata),
            lambda: stub.StatObject(raced, metadata=metadata).object.metadata["by"] == str(i))

    def absent_put(key, i):
        yield object_pb2.PutObjectRequest(head=object_pb2.PutObjectHead(bucket="python", key=key, if_absent=True, metadata={"by": str(i)}))
        yield object_pb2.PutObjectRequest(end=object_pb2.PutObjectEnd())

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(race, range(8)))
    check(outcomes.count(True) == 1, outcomes)
    seen = objects.StatObject(raced, metadata=me)
    check(seen == other_objects.StatObject(raced, metadata=other_me) and seen.object.metadata["by"] == str(outcomes.index(True)), "both nodes agree on the winner")

    # a call is cancelled in the middle
    reading = objects.GetObject(object_pb2.GetObjectRequest(bucket="python", key="ключ/é"), metadata=me)
    next(reading)
    reading.cancel()
    check(failing(lambda: reading).code() == grpc.StatusCode.CANCELLED, "a cancelled call")

    # a watch ends with its deadline, having told that it watches
    watching = objects.WatchObjects(object_pb2.WatchObjectsRequest(), metadata=me, timeout=1)
    check(not next(watching).HasField("announcement"), "it watches")
    check(failing(lambda: watching).code() == grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline")

    error = failing(lambda: objects.StatObject(object_pb2.StatObjectRequest(bucket="python", key="nothing"), metadata=me))
    info = error_details_pb2.ErrorInfo()
    check(error.code() == grpc.StatusCode.NOT_FOUND and status_details(error)[0].Unpack(info) and info.reason == "NOT_FOUND", error)
    error = failing(lambda: objects.ListObjects(object_pb2.ListObjectsRequest(bucket="python", limit=5000), metadata=me))
    wrong = error_details_pb2.BadRequest()
    check(status_details(error)[1].Unpack(wrong) and wrong.field_violations[0].field == "limit", error)

    check(failing(lambda: cluster.GetStatus(cluster_pb2.GetStatusRequest())).code() == grpc.StatusCode.UNAUTHENTICATED, "without a token")
    check(cluster.GetStatus(cluster_pb2.GetStatusRequest(), metadata=me).status.role == cluster_pb2.ROLE_MEMBER, "the status")
    # what a change of nodes would move, and how far one is
    layout = cluster.GetLayout(cluster_pb2.GetLayoutRequest(), metadata=me)
    check(len(layout.members) == 3 and all(member.present.blocks == 4096 for member in layout.members), layout)
    plan = cluster_pb2.PlanChangeRequest(update=cluster_pb2.PlannedUpdate(peer_id=layout.members[0].peer_id, settings=cluster_pb2.NodeSettings(zone="cellar")))
    forecast = cluster.PlanChange(plan, metadata=me).forecast
    check(forecast.layout_version == layout.layout.version and len(forecast.nodes) == 3, forecast)
    following = cluster.WatchChange(cluster_pb2.WatchChangeRequest(forecast=forecast), metadata=me, timeout=20)
    told = next(following)
    check(len(told.progress.nodes) == 3 and told.share.total_bytes == forecast.moved_bytes, told)
    following.cancel()
    error = failing(lambda: cluster.PlanChange(cluster_pb2.PlanChangeRequest(), metadata=me))
    check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, error)
    check(failing(lambda: cluster.GetLayout(cluster_pb2.GetLayoutRequest())).code() == grpc.StatusCode.UNAUTHENTICATED, "the layout without a token")

    check(objects.DeleteObject(object_pb2.DeleteObjectRequest(bucket="python", key="ключ/é"), metadata=me).removed, "it is removed")

print("all of it held")
