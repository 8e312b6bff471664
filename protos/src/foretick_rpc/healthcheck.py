"""`python -m foretick_rpc.healthcheck HOST:PORT`: exit code 0 if the service there is serving."""

import sys

import grpc
from grpc_health.v1 import health_pb2


def is_serving(target: str, timeout_seconds: float = 2.0) -> bool:
    """Whether the server at `target` says so within the deadline."""
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                health_pb2.HealthCheckRequest.SerializeToString,
                health_pb2.HealthCheckResponse.FromString,
            )
            answer = check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m foretick_rpc.healthcheck HOST:PORT")
    sys.exit(0 if is_serving(sys.argv[1]) else 1)
