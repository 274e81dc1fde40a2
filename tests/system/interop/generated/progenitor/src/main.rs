//! A share, a list, an error and a cancel with the client that progenitor generates.

use std::{env, error::Error};

use reqwest::header::HeaderMap;

#[allow(clippy::all, dead_code, unused_imports)]
mod rest {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| env::var(format!("BACKUP_SHARING_{name}"));
    let (project, recipient) = (variable("PROJECT")?, variable("RECIPIENT")?);
    let backup: uuid::Uuid = variable("BACKUP")?.parse()?;
    let mut headers = HeaderMap::new();
    headers.insert("X-Auth-Token", variable("TOKEN")?.parse()?);
    let http = reqwest::Client::builder().default_headers(headers).build()?;
    let client = rest::Client::new_with_client(&variable("REST")?, http);

    let recipients = rest::types::BackupRecipients::builder()
        .backup_id(backup)
        .to_project_ids(vec![
            recipient.parse::<rest::types::BackupRecipientsToProjectIdsItem>()?,
            variable("OTHER")?.parse()?,
        ]);
    let request = || {
        client
            .backup_sharing_service_share_backup()
            .project_id(project.as_str())
            .body_map(|body| body.shared(recipients.clone()))
    };
    let shared = request().send().await?.into_inner().shared;
    let first = &shared[0];
    assert_eq!(first.to_project_id.to_string(), recipient);
    assert!(first.deleted.is_none() && first.created_at.len() == 26);
    println!("shared {}", shared.len());

    match request().send().await {
        Err(rest::Error::ErrorResponse(failure)) => println!("{} {}", failure.status().as_u16(), failure.error.code),
        other => panic!("expected a conflict, got {other:?}"),
    }

    let listed = client
        .backup_sharing_service_list_sharings()
        .project_id(project.as_str())
        .backup_id(backup)
        .sort_key(rest::types::BackupSharingServiceListSharingsSortKey::CreatedAt)
        .limit(std::num::NonZeroU64::MIN.saturating_add(9))
        .send()
        .await?
        .into_inner();
    assert!(listed.shared.iter().all(|one| one.backup.id == backup && one.backup.size == Some(40)));
    println!("listed {}", listed.shared.len());

    client
        .backup_sharing_service_cancel_sharing()
        .project_id(project.as_str())
        .id(first.id)
        .send()
        .await?;
    match client.backup_sharing_service_get_sharing().project_id(project.as_str()).id(first.id).send().await {
        Err(rest::Error::ErrorResponse(failure)) => println!("{} {}", failure.status().as_u16(), failure.error.code),
        other => panic!("expected a sharing that is gone, got {other:?}"),
    }
    Ok(())
}
