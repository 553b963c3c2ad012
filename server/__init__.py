"""The gRPC service of Lanner. `server.run.serve` is the way in."""
