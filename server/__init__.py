"""The gRPC service of Lanner. `server.process.serve` is the way in."""
