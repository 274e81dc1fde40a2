import { Api, type ErrorResponse, type HttpResponse } from "./rest/swagger-typescript-api";
import { Failure, project, rest, run, token } from "./scenario.js";

const { v2 } = new Api({ baseUrl: rest, baseApiParams: { headers: { "X-Auth-Token": token } } });

const failed = (answer: HttpResponse<unknown, ErrorResponse>) => new Failure(answer.status, answer.error.error.code);

await run({
  async share(to_project_ids, backup_id) {
    const body = { shared: { to_project_ids, backup_id } };
    return v2.backupSharingServiceShareBackup(project, body).then(({ data }) => data.shared, failed);
  },
  async list(backup_id) {
    const query = { backup_id, limit: 10, sort_key: "created_at" } as const;
    return (await v2.backupSharingServiceListSharings(project, query)).data.shared;
  },
  async cancel(id) {
    return (await v2.backupSharingServiceCancelSharing(project, id)).status;
  },
  async get(id) {
    return v2.backupSharingServiceGetSharing(project, id).then(({ data }) => data, failed);
  },
});
