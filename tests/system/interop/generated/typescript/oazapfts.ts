import {
  backupSharingServiceCancelSharing,
  backupSharingServiceGetSharing,
  backupSharingServiceListSharings,
  backupSharingServiceShareBackup,
  defaults,
} from "./rest/oazapfts";
import { Failure, project, rest, run, token } from "./scenario.js";

defaults.baseUrl = rest;
defaults.headers = { "X-Auth-Token": token };

await run({
  async share(to_project_ids, backup_id) {
    const answer = await backupSharingServiceShareBackup(project, { shared: { to_project_ids, backup_id } });
    return answer.status === 200 ? answer.data.shared : new Failure(answer.status, answer.data.error.code);
  },
  async list(backupId) {
    const answer = await backupSharingServiceListSharings(project, { backupId, limit: 10, sortKey: "created_at" });
    return answer.status === 200 ? answer.data.shared : [];
  },
  async cancel(id) {
    return (await backupSharingServiceCancelSharing(project, id)).status;
  },
  async get(id) {
    const answer = await backupSharingServiceGetSharing(project, id);
    return answer.status === 200 ? answer.data : new Failure(answer.status, answer.data.error.code);
  },
});
