"""The gRPC door.

``grpc`` and generated stubs are imported only in here, in `server.app` and in the command-line client.
"""
