import {
  backupSharingServiceCancelSharing,
  backupSharingServiceGetSharing,
  backupSharingServiceListSharings,
  backupSharingServiceShareBackup,
} from "./rest/orval";
import { Failure, project, rest, run, token } from "./scenario.js";

const options = { headers: { "X-Auth-Token": token } };
const send = globalThis.fetch;
// The generated functions fetch paths without a host, as in a browser.
globalThis.fetch = (path, init) => send(`${rest}${path}`, init);

await run({
  async share(to_project_ids, backup_id) {
    const body = { shared: { to_project_ids, backup_id } };
    const answer = await backupSharingServiceShareBackup(project, body, options);
    return answer.status === 200 ? answer.data.shared : new Failure(answer.status, answer.data.error.code);
  },
  async list(backup_id) {
    const query = { backup_id, limit: 10, sort_key: "created_at" } as const;
    const answer = await backupSharingServiceListSharings(project, query, options);
    return answer.status === 200 ? answer.data.shared : [];
  },
  async cancel(id) {
    return (await backupSharingServiceCancelSharing(project, id, {}, options)).status;
  },
  async get(id) {
    const answer = await backupSharingServiceGetSharing(project, id, options);
    return answer.status === 200 ? answer.data : new Failure(answer.status, answer.data.error.code);
  },
});
