"""The gRPC API.

``grpc`` and generated stubs are imported only in this package, in `backup_sharing.app` and in the command-line client.
"""
