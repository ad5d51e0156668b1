# Calls nodes by grpcio as a program of another machine does, under TLS with an access key: argv has the folder of the generated code, the certificate to trust, the key's id and
# secret, those of a key that may only read, and the addresses of two nodes.
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

generated, certificate, key_id, secret, reader_id, reader_secret, *addresses = sys.argv[1:]
sys.path[:0] = [generated, generated + "/grpc/health/v1"]

import grpc  # noqa: E402
from dfs.v1 import bucket_pb2, bucket_pb2_grpc, cluster_pb2, cluster_pb2_grpc, key_pb2, key_pb2_grpc, object_pb2, object_pb2_grpc  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402
import health_pb2  # noqa: E402  (its package is called as the library's own)
from asking import check, failing, has_won, status_details  # noqa: E402

me, reader = [[("authorization", "Bearer " + name + ":" + word)] for name, word in ((key_id, secret), (reader_id, reader_secret))]
with open(certificate, "rb") as file:
    trusted = grpc.ssl_channel_credentials(file.read())
channels = [grpc.secure_channel(address, trusted) for address in addresses]
objects, other_objects = [object_pb2_grpc.ObjectServiceStub(channel) for channel in channels]
buckets = bucket_pb2_grpc.BucketServiceStub(channels[0])


def reason(error):
    info = error_details_pb2.ErrorInfo()
    check(status_details(error)[0].Unpack(info), error)
    return info.reason


def health(channel, service=""):
    ask = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=health_pb2.HealthCheckRequest.SerializeToString, response_deserializer=health_pb2.HealthCheckResponse.FromString)
    return ask(health_pb2.HealthCheckRequest(service=service), timeout=10).status


# who speaks in clear, or does not trust the certificate, is not answered
for stranger in (grpc.insecure_channel(addresses[0]), grpc.secure_channel(addresses[0], grpc.ssl_channel_credentials())):
    with stranger:
        error = failing(lambda: health(stranger))
        check(error.code() == grpc.StatusCode.UNAVAILABLE, error)

# health is told without a key, of what is served here
for channel in channels:
    for service in ("", "dfs.v1.ObjectService"):
        check(health(channel, service) == health_pb2.HealthCheckResponse.SERVING, service)
check(failing(lambda: health(channels[0], "dfs.v1.ClusterService")).code() == grpc.StatusCode.NOT_FOUND, "health of what is not served")

# who shows no key, or a wrong secret, gets nothing; who may only read is refused the rest
stat = object_pb2.StatObjectRequest(bucket="remote", key="k")
for shown in ([], [("authorization", "Bearer " + key_id + ":guessed")], [("authorization", "Bearer nobody:x")]):
    error = failing(lambda: objects.StatObject(stat, metadata=shown))
    check(error.code() == grpc.StatusCode.UNAUTHENTICATED and reason(error) == "REFUSED", error)
check(buckets.CreateBucket(bucket_pb2.CreateBucketRequest(name="remote", options=bucket_pb2.BucketOptions(copies=2)), metadata=me).bucket.options.copies == 2, "the bucket")
error = failing(lambda: buckets.CreateBucket(bucket_pb2.CreateBucketRequest(name="remote"), metadata=me))
check(error.code() == grpc.StatusCode.ALREADY_EXISTS and reason(error) == "CONFLICT", error)
body = bytes(range(256)) * 40_000


def parts(key, data, **head):
    yield object_pb2.PutObjectRequest(head=object_pb2.PutObjectHead(bucket="remote", key=key, size_bytes=len(data), **head))
    for at in range(0, len(data), 1 << 20):
        yield object_pb2.PutObjectRequest(chunk=data[at:at + (1 << 20)])
    yield object_pb2.PutObjectRequest(end=object_pb2.PutObjectEnd())


check(objects.PutObject(parts("k", body, metadata={"from": "elsewhere"}), metadata=me).object.size_bytes == len(body), "all of it is stored")
for shown in (me, reader):
    digest, ended = hashlib.sha256(), False
    for part in other_objects.GetObject(object_pb2.GetObjectRequest(bucket="remote", key="k"), metadata=shown):
        if part.WhichOneof("part") == "chunk":
            digest.update(part.chunk)
        ended = part.WhichOneof("part") == "end"
    check(ended and digest.digest() == hashlib.sha256(body).digest(), "the bytes are the same, to their end, through the other")
for refused in (lambda: objects.PutObject(parts("k", b"x"), metadata=reader), lambda: objects.DeleteObject(object_pb2.DeleteObjectRequest(bucket="remote", key="k"), metadata=reader)):
    error = failing(refused)
    check(error.code() == grpc.StatusCode.PERMISSION_DENIED and reason(error) == "REFUSED", error)

# codes and details
error = failing(lambda: other_objects.StatObject(object_pb2.StatObjectRequest(bucket="remote", key="nothing"), metadata=me))
check(error.code() == grpc.StatusCode.NOT_FOUND and reason(error) == "NOT_FOUND" and error.details() != "", error)
error = failing(lambda: objects.ListObjects(object_pb2.ListObjectsRequest(bucket="remote", limit=5000), metadata=me))
wrong = error_details_pb2.BadRequest()
check(error.code() == grpc.StatusCode.INVALID_ARGUMENT and status_details(error)[1].Unpack(wrong) and wrong.field_violations[0].field == "limit", error)
error = failing(lambda: other_objects.PutObject(parts("k", b"x", if_absent=True), metadata=me))
check(error.code() == grpc.StatusCode.FAILED_PRECONDITION and reason(error) == "CONFLICT", error)

# one winner of those who race through both
raced = object_pb2.StatObjectRequest(bucket="remote", key="raced")


def race(i):
    stub = (objects, other_objects)[i % 2]
    return has_won(lambda: stub.PutObject(parts("raced", b"", if_absent=True, metadata={"by": str(i)}), metadata=me), lambda: stub.StatObject(raced, metadata=me).object.metadata["by"] == str(i))


with ThreadPoolExecutor(6) as pool:
    outcomes = list(pool.map(race, range(6)))
check(outcomes.count(True) == 1 and objects.StatObject(raced, metadata=me).object.metadata["by"] == str(outcomes.index(True)), outcomes)

# a deadline, of what would go on for ever and of what takes too long; and a call that is cancelled. The connection goes on
watching = objects.WatchObjects(object_pb2.WatchObjectsRequest(bucket="remote"), metadata=me, timeout=1)
check(not next(watching).HasField("announcement"), "it watches")
check(failing(lambda: watching).code() == grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline of a watch")


def slowly():
    yield object_pb2.PutObjectRequest(head=object_pb2.PutObjectHead(bucket="remote", key="late"))
    for _ in range(100):
        yield object_pb2.PutObjectRequest(chunk=b"x")
        time.sleep(0.1)


check(failing(lambda: objects.PutObject(slowly(), metadata=me, timeout=1)).code() == grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline of a put")
reading = objects.GetObject(object_pb2.GetObjectRequest(bucket="remote", key="k"), metadata=me)
next(reading)
reading.cancel()
check(failing(lambda: reading).code() == grpc.StatusCode.CANCELLED, "a cancelled get")
putting = objects.PutObject.future(slowly(), metadata=me)
time.sleep(0.5)
putting.cancel()
check([found.key for found in objects.ListObjects(object_pb2.ListObjectsRequest(bucket="remote"), metadata=me).objects] == ["k", "raced"], "nothing is stored of what was late or cancelled")

# what is seen through one of what is put through the other
watching = other_objects.WatchObjects(object_pb2.WatchObjectsRequest(bucket="remote"), metadata=reader, timeout=20)
next(watching)
objects.PutObject(parts("seen", b"x"), metadata=me)
check(any(told.announcement.key == "seen" for told in watching), "it is seen")
watching.cancel()

# the cluster and its keys are not there for programs elsewhere
for call in (lambda: cluster_pb2_grpc.ClusterServiceStub(channels[0]).GetStatus(cluster_pb2.GetStatusRequest(), metadata=me), lambda: key_pb2_grpc.KeyServiceStub(channels[0]).ListKeys(key_pb2.ListKeysRequest(), metadata=me)):
    check(failing(call).code() == grpc.StatusCode.UNIMPLEMENTED, "it is not there")

check(other_objects.DeleteObject(object_pb2.DeleteObjectRequest(bucket="remote", key="k"), metadata=me).removed, "it is removed")
check(failing(lambda: objects.StatObject(stat, metadata=me)).code() == grpc.StatusCode.NOT_FOUND, "for both")
for channel in channels:
    channel.close()
print("all of it held")
