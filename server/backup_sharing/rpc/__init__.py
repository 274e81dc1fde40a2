"""The gRPC door.

``grpc`` and generated stubs are imported only in here, in `backup_sharing.app` and in the command-line client.
"""
