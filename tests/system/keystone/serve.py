"""Serve Keystone's public API with a configuration file; Keystone's Python runs this."""

import os
import sys

os.environ["OS_KEYSTONE_CONFIG_FILES"] = sys.argv[1]
host, _, port = sys.argv[2].rpartition(":")
sys.argv = ["keystone"]

from keystone.server.wsgi import initialize_public_application  # noqa: E402 - the import reads the arguments
from werkzeug.serving import run_simple  # noqa: E402

run_simple(host, int(port), initialize_public_application(), threaded=True)
