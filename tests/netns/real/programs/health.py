"""gRPC's health service (grpc.health.v1): `serve ADDRESS FILE`, or `probe ADDRESS...` as the kubelet does it.

The server answers with the status that FILE holds, and says in its metadata which peer it saw. The two messages have a
field each: they are written as bytes, so that nothing but gRPC itself is needed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

METHOD = "/grpc.health.v1.Health/Check"
STATUS = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}


class Health(grpc.GenericRpcHandler):
    def __init__(self, file):
        self.file = file

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.check) if details.method == METHOD else None

    def check(self, request, context):
        context.set_trailing_metadata((("peer", context.peer()),))
        with open(self.file) as file:
            word = file.read().strip()
        return next(bytes for bytes, name in STATUS.items() if name == word)


def serve(address, file):
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Health(file)])
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def probe(*addresses):
    for address in addresses:
        # A connection of its own, and an answer within a second: the kubelet's defaults.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(address, options) as channel:
            try:
                answer, call = channel.unary_unary(METHOD).with_call(b"", timeout=1)
                print(STATUS[answer], dict(call.trailing_metadata()).get("peer"))
            except grpc.RpcError as error:
                print(error.code().name, "-")


{"serve": serve, "probe": probe}[sys.argv[1]](*sys.argv[2:])
