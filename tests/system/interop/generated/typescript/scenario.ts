/** What a generated client does in a scenario; a call that fails returns its status and code. */
export interface Client {
  share(toProjectIds: string[], backupId: string): Promise<Shared | Failure>;
  list(backupId: string): Promise<{ backup: { id: string; size: number | null } }[]>;
  cancel(id: string): Promise<number>;
  get(id: string): Promise<object | Failure>;
}

export type Shared = { id: string; to_project_id: string; deleted: string | null; created_at: string }[];

export class Failure {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {}
}

export const variable = (name: string): string => process.env[`BACKUP_SHARING_${name}`] ?? "";

export const [rest, project, token] = ["REST", "PROJECT", "TOKEN"].map(variable) as [string, string, string];

/** Runs a share, a list, an error and a cancel. */
export async function run(client: Client): Promise<void> {
  const [recipient, backup] = [variable("RECIPIENT"), variable("BACKUP")];
  const shared = await client.share([recipient, variable("OTHER")], backup);
  if (shared instanceof Failure) throw new Error(JSON.stringify(shared));
  const first = shared[0]!;
  expect(first.to_project_id === recipient && first.deleted === null && first.created_at.length === 26, first);
  console.log("shared", shared.length);
  tell(await client.share([recipient, variable("OTHER")], backup));
  const listed = await client.list(backup);
  for (const one of listed) expect(one.backup.id === backup && one.backup.size === 40, one);
  console.log("listed", listed.length);
  expect((await client.cancel(first.id)) === 200, "not cancelled");
  tell(await client.get(first.id));
}

function tell(failure: unknown): void {
  expect(failure instanceof Failure, failure);
  console.log((failure as Failure).status, (failure as Failure).code);
}

function expect(holds: boolean, got: unknown): void {
  if (!holds) throw new Error(`unexpected: ${JSON.stringify(got)}`);
}
