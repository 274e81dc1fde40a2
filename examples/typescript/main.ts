// Shares backups over gRPC, lists the sharings, and cancels one: see examples/README.md.

import { randomUUID } from "node:crypto";
import { type CallOptions, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BackupAccessService, type SharingEvent } from "./stubs/backupsharing/v2/backup_access_pb.js";
import { BackupCatalogService } from "./stubs/backupsharing/v2/backup_catalog_pb.js";
import { BackupSharingService } from "./stubs/backupsharing/v2/backup_sharing_pb.js";
import { type ErrorInfo, ErrorInfoSchema } from "./stubs/google/rpc/error_details_pb.js";

// Plain text, for a server on the same machine. Use https:// for TLS.
const transport = createGrpcTransport({ baseUrl: `http://${environment("BACKUP_SHARING_GRPC")}` });
const catalog = createClient(BackupCatalogService, transport);
const sharings = createClient(BackupSharingService, transport);
const access = createClient(BackupAccessService, transport);

const giver = environment("BACKUP_SHARING_PROJECT");
const recipient = environment("BACKUP_SHARING_RECIPIENT");
const other = environment("BACKUP_SHARING_OTHER");
const asService = options("BACKUP_SHARING_SERVICE_TOKEN");
const asGiver = options("BACKUP_SHARING_TOKEN");
const asRecipient = options("BACKUP_SHARING_RECIPIENT_TOKEN");

async function main(): Promise<void> {
  const run = `typescript-${randomUUID()}`;
  const first = randomUUID();
  const others = [randomUUID(), randomUUID()];

  for (const backup of [first, ...others]) {
    await putBackup(backup, run);
  }
  step(`put ${first}`, `put ${first}`);

  const shared = await share(first, [recipient, other]);
  for (const backup of others) {
    await share(backup, [recipient]);
  }
  step("shared 2", `shared ${shared.length}`);

  const conflict = await expectFailure(
    Code.AlreadyExists,
    sharings.shareBackup({ projectId: giver, shared: { backupId: first, toProjectIds: [recipient] } }, asGiver),
  );
  step("conflict ALREADY_SHARED BackupSharing.0002", `conflict ${conflict.reason} ${conflict.metadata["code"]}`);

  await listReceived(run, [first, ...others]);

  const id = shared.find((sharing) => sharing.toProjectId === recipient)?.id;
  if (id === undefined) {
    throw new Error("no sharing with the recipient");
  }
  const checked = await access.checkAccess({ backupId: first, projectId: recipient }, asRecipient);
  if (checked.sharingId !== id) {
    throw new Error(`the recipient may read the backup because of ${checked.sharingId}`);
  }
  step("checked yes", `checked ${checked.allowed ? "yes" : "no"}`);

  const cancelled = await sharings.cancelSharing({ projectId: giver, id }, asGiver);
  step("cancelled 1", `cancelled ${cancelled.shared.length}`);

  const gone = await expectFailure(Code.NotFound, sharings.getSharing({ projectId: giver, id }, asGiver));
  step("gone SHARING_NOT_FOUND", `gone ${gone.reason}`);

  const event = await firstEvent(first, checked.cursor);
  step("watched cancelled", `watched ${event.kind}`);
}

async function putBackup(id: string, name: string): Promise<void> {
  const backup = { id, projectId: giver, name, status: "available", size: 10 };
  await catalog.putBackup({ backup }, asService);
}

async function share(backupId: string, toProjectIds: string[]) {
  // With an idempotency key the call can be retried safely.
  const request = { projectId: giver, shared: { backupId, toProjectIds }, idempotencyKey: randomUUID() };
  return (await sharings.shareBackup(request, asGiver)).shared;
}

async function listReceived(name: string, expected: string[]): Promise<void> {
  const seen: string[] = [];
  let pages = 0;
  let pageToken = "";
  do {
    const request = { projectId: recipient, shareToMe: true, name, limit: 2, pageToken };
    const page = await sharings.listSharings(request, asRecipient);
    seen.push(...page.shared.map((sharing) => sharing.backupId));
    pageToken = page.nextPageToken;
    pages++;
  } while (pageToken !== "");
  if (seen.toSorted().join() !== expected.toSorted().join()) {
    throw new Error(`listed the backups ${seen}, expected ${expected}`);
  }
  step("listed 3 in 2 pages", `listed ${seen.length} in ${pages} pages`);
}

/** Watches a backup, as the recipient, until its first event after a cursor. */
async function firstEvent(backupId: string, cursor: string): Promise<SharingEvent> {
  // The return from the loop ends the stream.
  for await (const { event } of access.watchSharings({ projectId: recipient, backupId, cursor }, asRecipient)) {
    // A response without an event only tells how far the watch has come.
    if (event !== undefined) {
      return event;
    }
  }
  throw new Error("the watch ended without an event");
}

/** Awaits a call that must fail with this code, and returns its ErrorInfo. */
async function expectFailure(code: Code, call: Promise<unknown>): Promise<ErrorInfo> {
  try {
    await call;
  } catch (failure) {
    if (!(failure instanceof ConnectError) || failure.code !== code) {
      throw failure;
    }
    const [info] = failure.findDetails(ErrorInfoSchema);
    if (info === undefined) {
      throw new Error(`no ErrorInfo in ${failure.message}`);
    }
    return info;
  }
  throw new Error(`a call succeeded that should fail with ${Code[code]}`);
}

/** The options of every call: the caller's token and the timeout. */
function options(tokenVariable: string): CallOptions {
  return { headers: { "x-auth-token": environment(tokenVariable) }, timeoutMs: 10_000 };
}

function step(expected: string, actual: string): void {
  console.log(actual);
  if (actual !== expected) {
    throw new Error(`expected ${expected}`);
  }
}

function environment(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

try {
  await main();
} catch (failure) {
  console.error(failure instanceof Error ? failure.message : failure);
  process.exitCode = 1;
}
