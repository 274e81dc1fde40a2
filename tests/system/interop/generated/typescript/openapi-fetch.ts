import createClient from "openapi-fetch";

import type { paths } from "./rest/openapi-typescript.js";
import { Failure, project, rest, run, token } from "./scenario.js";

const client = createClient<paths>({ baseUrl: rest, headers: { "X-Auth-Token": token } });
const collection = "/v2/{project_id}/os-vendor-backup-sharing";
const path = { project_id: project };

await run({
  async share(to_project_ids, backup_id) {
    const body = { shared: { to_project_ids, backup_id } };
    const { data, error, response } = await client.POST(collection, { params: { path }, body });
    return data?.shared ?? new Failure(response.status, error!.error.code);
  },
  async list(backup_id) {
    const query = { backup_id, limit: 10, sort_key: "created_at" } as const;
    return (await client.GET(`${collection}/detail`, { params: { path, query } })).data!.shared;
  },
  async cancel(id) {
    return (await client.DELETE(`${collection}/{id}`, { params: { path: { ...path, id } } })).response.status;
  },
  async get(id) {
    const { data, error, response } = await client.GET(`${collection}/{id}`, { params: { path: { ...path, id } } });
    return data ?? new Failure(response.status, error!.error.code);
  },
});
