# How calls of the scripts beside this one are judged. The generated code must be importable.
import random
import time

import grpc


def status_details(error):
    """The google.rpc.Status of the trailer, by hand: code 1, message 2, details 3 (Any: type 1, value 2)."""
    from google.protobuf import any_pb2
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    details, at = [], 0
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(raw):
        tag = varint()
        if tag & 7 == 0:
            varint()
            continue
        length = varint()
        if tag >> 3 == 3:
            details.append(any_pb2.Any.FromString(raw[at:at + length]))
        at += length
    return details


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def failing(call):
    try:
        result = call()
        if hasattr(result, "__iter__"):
            list(result)
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


def has_won(write, is_mine):
    """Whether a conditional write has won in the end: what was not possible, and what may have happened, is tried again, and of the latter `is_mine` says whether it had."""
    may_have_happened = False
    for attempt in range(30):
        try:
            write()
            return True
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                return may_have_happened and is_mine()
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
                raise
            may_have_happened |= error.code() == grpc.StatusCode.UNKNOWN
            time.sleep(random.random() * 0.02 * (attempt + 1))
    raise AssertionError("it was never decided")
