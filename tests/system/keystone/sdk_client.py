"""Use openstacksdk as a user does: log in with a password, find the service, and share. Keystone's Python runs this.

Prints the responses as JSON.
"""

import json
import sys

import openstack

auth_url, user, password, project, backup_id, recipient = sys.argv[1:]
connection = openstack.connect(
    auth_url=auth_url,
    username=user,
    password=password,
    project_name=project,
    user_domain_name="Default",
    project_domain_name="Default",
    region_name="RegionOne",
)
endpoint = connection.session.get_endpoint(service_type="vbs", interface="public", region_name="RegionOne")
body = {"shared": {"backup_id": backup_id, "to_project_ids": [recipient]}}
shared = connection.session.post(f"{endpoint}/os-vendor-backup-sharing", json=body)
listed = connection.session.get(f"{endpoint}/os-vendor-backup-sharing/detail")
print(json.dumps({"endpoint": endpoint, "shared": shared.json(), "listed": listed.json()}))  # noqa: T201 - for the test
