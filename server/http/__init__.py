"""The HTTP/JSON twin of the gRPC services: the same messages, the same methods."""
