import { client } from "./rest/hey-api/client.gen";
import {
  backupSharingServiceCancelSharing,
  backupSharingServiceGetSharing,
  backupSharingServiceListSharings,
  backupSharingServiceShareBackup,
} from "./rest/hey-api/sdk.gen";
import { Failure, project, rest, run, token } from "./scenario.js";

client.setConfig({ baseUrl: rest, headers: { "X-Auth-Token": token } });
const path = { project_id: project };

await run({
  async share(to_project_ids, backup_id) {
    const body = { shared: { to_project_ids, backup_id } };
    const { data, error, response } = await backupSharingServiceShareBackup({ path, body });
    return data?.shared ?? new Failure(response!.status, error!.error.code);
  },
  async list(backup_id) {
    const query = { backup_id, limit: 10, sort_key: "created_at" } as const;
    return (await backupSharingServiceListSharings({ path, query })).data!.shared;
  },
  async cancel(id) {
    return (await backupSharingServiceCancelSharing({ path: { ...path, id } })).response!.status;
  },
  async get(id) {
    const { data, error, response } = await backupSharingServiceGetSharing({ path: { ...path, id } });
    return data ?? new Failure(response!.status, error!.error.code);
  },
});
