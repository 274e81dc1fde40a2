//! Shares backups over gRPC, lists them as their recipient, and cancels a sharing.
//!
//! ../README.md describes its output and its environment variables. Run `make stubs`, then `cargo run`.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorInfo, StatusExt};
use uuid::Uuid;

use pb::backup_access_service_client::BackupAccessServiceClient;
use pb::backup_catalog_service_client::BackupCatalogServiceClient;
use pb::backup_sharing_service_client::BackupSharingServiceClient;

/// The stubs that `make stubs` generates.
mod pb {
    include!("../../../build/stubs/rust/backupsharing/v2/backupsharing.v2.rs");
}

/// The deadline of a call. The server stores nothing in the last second before a deadline.
const TIMEOUT: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<()> {
    let server = format!("http://{}", variable("BACKUP_SHARING_GRPC")?);
    let channel = Endpoint::from_shared(server)?.connect_lazy();
    let mut example = Example {
        catalog: BackupCatalogServiceClient::new(channel.clone()),
        sharings: BackupSharingServiceClient::new(channel.clone()),
        access: BackupAccessServiceClient::new(channel),
        service_token: variable("BACKUP_SHARING_SERVICE_TOKEN")?,
        giver: variable("BACKUP_SHARING_PROJECT")?,
        giver_token: variable("BACKUP_SHARING_TOKEN")?,
        recipient: variable("BACKUP_SHARING_RECIPIENT")?,
        recipient_token: variable("BACKUP_SHARING_RECIPIENT_TOKEN")?,
        name: format!("rust-{}", Uuid::new_v4()),
    };
    let other = variable("BACKUP_SHARING_OTHER")?;
    let backups: [String; 3] = std::array::from_fn(|_| Uuid::new_v4().to_string());
    let [first, second, third] = &backups;
    let recipient = example.recipient.clone();

    for backup in &backups {
        example.put(backup).await?;
    }
    println!("put {first}");

    let shared = example.share(first, &[&recipient, &other]).await?;
    example.share(second, &[&recipient]).await?;
    example.share(third, &[&recipient]).await?;
    println!("shared {}", shared.len());

    let conflict = example.conflict(first).await?;
    let code = conflict.metadata.get("code").ok_or("no code")?;
    println!("conflict {} {code}", conflict.reason);

    let (mut listed, pages) = example.list().await?;
    let mut expected = backups.clone();
    listed.sort();
    expected.sort();
    if listed != expected || pages != 2 {
        return Err(format!("listed {listed:?} in {pages} pages").into());
    }
    println!("listed {} in {pages} pages", listed.len());

    let sharing = &shared[0].id;
    let cursor = example.check(first, sharing).await?;
    println!("checked yes");

    let cancelled = example.cancel(sharing).await?;
    println!("cancelled {cancelled}");

    let gone = example.gone(sharing).await?;
    println!("gone {}", gone.reason);

    let event = example.watch(first, cursor).await?;
    if event.sharing_id() != sharing {
        return Err(format!("instead of the end of {sharing}: {event:?}").into());
    }
    println!("watched {}", event.kind);
    Ok(())
}

struct Example {
    catalog: BackupCatalogServiceClient<Channel>,
    sharings: BackupSharingServiceClient<Channel>,
    access: BackupAccessServiceClient<Channel>,
    service_token: String,
    giver: String,
    giver_token: String,
    recipient: String,
    recipient_token: String,
    /// Name of the backups of this run.
    name: String,
}

impl Example {
    /// Puts a backup into the catalogue, as the backup service does.
    async fn put(&mut self, backup: &str) -> Outcome<()> {
        let request = pb::PutBackupRequest {
            backup: Some(pb::Backup {
                id: backup.to_owned(),
                project_id: self.giver.clone(),
                name: Some(self.name.clone()),
                size: Some(40),
                status: "available".to_owned(),
                ..Default::default()
            }),
        };
        let request = call(request, &self.service_token)?;
        let answer = self.catalog.put_backup(request).await?;
        match answer.into_inner().backup {
            Some(stored) if stored.id == backup && stored.name() == self.name => Ok(()),
            other => Err(format!("stored {other:?}").into()),
        }
    }

    /// Shares a backup with projects. With the idempotency key the call can be retried safely.
    async fn share(&mut self, backup: &str, recipients: &[&str]) -> Outcome<Vec<pb::Sharing>> {
        let mut request = self.share_request(backup, recipients);
        request.idempotency_key = Some(Uuid::new_v4().to_string());
        let request = call(request, &self.giver_token)?;
        let answer = self.sharings.share_backup(request).await?;
        let shared = answer.into_inner().shared;
        let got = shared
            .iter()
            .map(|one| (&*one.backup_id, &*one.to_project_id));
        if !got.eq(recipients.iter().map(|recipient| (backup, *recipient))) {
            return Err(format!("shared {backup} with {recipients:?}, got {shared:?}").into());
        }
        Ok(shared)
    }

    /// Shares with a project that already has the backup, and returns the `ErrorInfo` of the failure.
    async fn conflict(&mut self, backup: &str) -> Outcome<ErrorInfo> {
        let request = self.share_request(backup, &[&self.recipient]);
        let request = call(request, &self.giver_token)?;
        let answer = self.sharings.share_backup(request).await;
        failure(answer, Code::AlreadyExists, "ALREADY_SHARED")
    }

    /// Lists the backups that the recipient received in this run, two per page. Also returns the number of pages.
    async fn list(&mut self) -> Outcome<(Vec<String>, usize)> {
        let mut request = pb::ListSharingsRequest {
            project_id: self.recipient.clone(),
            share_to_me: Some(true),
            name: Some(self.name.clone()),
            limit: Some(2),
            ..Default::default()
        };
        let (mut listed, mut pages) = (Vec::new(), 0);
        loop {
            let page = call(request.clone(), &self.recipient_token)?;
            let page = self.sharings.list_sharings(page).await?.into_inner();
            pages += 1;
            for sharing in page.shared {
                let name = sharing.backup.as_ref().map(pb::Backup::name);
                if sharing.from_project_id != self.giver || name != Some(&self.name) {
                    return Err(format!("not a sharing of this run: {sharing:?}").into());
                }
                listed.push(sharing.backup_id);
            }
            if page.next_page_token.is_empty() {
                return Ok((listed, pages));
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Asks, as the recipient, whether it may read a backup because of a sharing. Returns the cursor of the answer.
    async fn check(&mut self, backup: &str, sharing: &str) -> Outcome<String> {
        let request = pb::CheckAccessRequest {
            backup_id: backup.to_owned(),
            project_id: self.recipient.clone(),
        };
        let request = call(request, &self.recipient_token)?;
        let answer = self.access.check_access(request).await?.into_inner();
        if !answer.allowed || answer.sharing_id() != sharing {
            return Err(format!("instead of access by {sharing}: {answer:?}").into());
        }
        Ok(answer.cursor)
    }

    /// Watches a backup, as the recipient, until its first event after a cursor. Dropping the stream ends it.
    async fn watch(&mut self, backup: &str, cursor: String) -> Outcome<pb::SharingEvent> {
        let request = pb::WatchSharingsRequest {
            project_id: self.recipient.clone(),
            backup_id: Some(backup.to_owned()),
            cursor: Some(cursor),
            ..Default::default()
        };
        let request = call(request, &self.recipient_token)?;
        let mut stream = self.access.watch_sharings(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            // A response without an event only tells how far the watch has come.
            if let Some(event) = answer.event {
                return Ok(event);
            }
        }
        Err("the watch ended without an event".into())
    }

    /// Cancels a sharing, and returns the number of cancelled sharings.
    async fn cancel(&mut self, sharing: &str) -> Outcome<usize> {
        let request = pb::CancelSharingRequest {
            project_id: self.giver.clone(),
            id: sharing.to_owned(),
            ..Default::default()
        };
        let request = call(request, &self.giver_token)?;
        let answer = self.sharings.cancel_sharing(request).await?;
        let ended = answer.into_inner().shared;
        match ended.as_slice() {
            [one] if one.id == sharing && one.deleted_at.is_some() => Ok(ended.len()),
            other => Err(format!("instead of {sharing} ended: {other:?}").into()),
        }
    }

    /// Gets a cancelled sharing, and returns the `ErrorInfo` of the failure.
    async fn gone(&mut self, sharing: &str) -> Outcome<ErrorInfo> {
        let request = pb::GetSharingRequest {
            project_id: self.giver.clone(),
            id: sharing.to_owned(),
        };
        let request = call(request, &self.giver_token)?;
        let answer = self.sharings.get_sharing(request).await;
        failure(answer, Code::NotFound, "SHARING_NOT_FOUND")
    }

    fn share_request(&self, backup: &str, recipients: &[&str]) -> pb::ShareBackupRequest {
        pb::ShareBackupRequest {
            project_id: self.giver.clone(),
            shared: Some(pb::BackupRecipients {
                backup_id: backup.to_owned(),
                to_project_ids: recipients.iter().map(|id| id.to_string()).collect(),
            }),
            ..Default::default()
        }
    }
}

/// A request with this message, the caller's token and the timeout.
fn call<T>(message: T, token: &str) -> Outcome<Request<T>> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("x-auth-token", token.parse()?);
    request.set_timeout(TIMEOUT);
    Ok(request)
}

/// The `ErrorInfo` of a call that must fail with this code and this reason.
fn failure<T>(answer: Result<Response<T>, Status>, code: Code, reason: &str) -> Outcome<ErrorInfo> {
    let status = answer.err().ok_or("the call succeeded")?;
    match status.get_details_error_info() {
        Some(info) if status.code() == code && info.reason == reason => Ok(info),
        _ => Err(format!("not {reason}: {status}").into()),
    }
}

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}
