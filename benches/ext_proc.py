"""A service behind Envoy's `ext_proc` that gives Sidetrack's answer: one process, asyncio, gRPC.

    python ext_proc.py PORT
"""

import asyncio
import hashlib
import sys

import grpc

BASELINE, ENHANCED, EXPERIMENT = "baseline-predictor", "enhanced-predictor", "financial-ab-test"
PREFIX = hashlib.sha256(f"arm1\0{EXPERIMENT}\0".encode())

protos, services = grpc.protos_and_services("ext_proc.proto")


def bucket(unit: bytes) -> int:
    digest = PREFIX.copy()
    digest.update(unit)
    return int.from_bytes(digest.digest()[:8], "big") * 1_000_000 >> 64


def put(headers: dict) -> "protos.HeaderMutation":
    options = [
        protos.HeaderValueOption(header=protos.HeaderValue(key=name, raw_value=value.encode()), append_action=2)
        for name, value in headers.items()
    ]
    return protos.HeaderMutation(set_headers=options)


class Processor(services.ExternalProcessorServicer):
    async def Process(self, requests, context):
        told = {}
        async for request in requests:
            if request.HasField("request_headers"):
                headers = {header.key: header.raw_value for header in request.request_headers.headers.headers}
                unit = headers.get("x-user-id", b"")
                variant = ENHANCED if unit and bucket(unit) < 300_000 else BASELINE
                told = {"x-ab-experiment": EXPERIMENT, "x-ab-variant": variant}
                changes = protos.CommonResponse(
                    header_mutation=put(told | {"x-ab-cluster": variant}), clear_route_cache=True
                )
                yield protos.ProcessingResponse(request_headers=protos.HeadersResponse(response=changes))
            else:
                changes = protos.CommonResponse(header_mutation=put(told))
                yield protos.ProcessingResponse(response_headers=protos.HeadersResponse(response=changes))


async def main() -> None:
    server = grpc.aio.server()
    services.add_ExternalProcessorServicer_to_server(Processor(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
