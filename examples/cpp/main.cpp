// Shares backups over gRPC, lists the sharings, and cancels one: see examples/README.md.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "backupsharing/v2/backup_access.grpc.pb.h"
#include "backupsharing/v2/backup_catalog.grpc.pb.h"
#include "backupsharing/v2/backup_sharing.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace {

namespace api = backupsharing::v2;
using google::rpc::ErrorInfo;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') {
    throw std::runtime_error(std::string(name) + " is not set");
  }
  return value;
}

/// Returns a random UUID from the Linux kernel.
std::string NewId() {
  std::ifstream source("/proc/sys/kernel/random/uuid");
  std::string id;
  if (!std::getline(source, id)) {
    throw std::runtime_error("no random UUID");
  }
  return id;
}

void Step(std::string_view expected, const std::string& actual) {
  std::cout << actual << '\n';
  if (actual != expected) {
    throw std::runtime_error("expected " + std::string(expected));
  }
}

/// Makes a call with a token and a deadline.
///
/// Creates a new client context, because a context is valid for one call, and a deadline is a
/// point in time.
template <typename Stub, typename Request, typename Response>
grpc::Status Call(Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const std::string& token, const Request& request, Response& response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  context.AddMetadata("x-auth-token", token);
  return (stub.*method)(&context, request, &response);
}

void Check(const grpc::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(status.error_message());
  }
}

/// Returns the ErrorInfo of a failure, which must have this code.
ErrorInfo ExpectFailure(grpc::StatusCode code, const grpc::Status& status) {
  if (status.error_code() != code) {
    throw std::runtime_error("expected code " + std::to_string(code) + ", got " +
                             std::to_string(status.error_code()) + " " + status.error_message());
  }
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (ErrorInfo info; detail.UnpackTo(&info)) {
      return info;
    }
  }
  throw std::runtime_error("no ErrorInfo in " + status.error_message());
}

class Example {
 public:
  explicit Example(const std::shared_ptr<grpc::Channel>& channel)
      : access_(channel), catalog_(channel), sharings_(channel) {}

  void Run() {
    const std::string run = "cpp-" + NewId();
    const std::vector<std::string> backups = {NewId(), NewId(), NewId()};
    const std::string& first = backups.front();

    for (const auto& backup : backups) {
      PutBackup(backup, run);
    }
    Step("put " + first, "put " + first);

    const auto shared = Share(first, {recipient_, other_});
    Share(backups[1], {recipient_});
    Share(backups[2], {recipient_});
    Step("shared 2", "shared " + std::to_string(shared.size()));

    api::ShareBackupResponse ignored;
    const auto again = Call(sharings_, &Sharings::ShareBackup, giver_token_,
                            ShareRequest(first, {recipient_}), ignored);
    const auto conflict = ExpectFailure(grpc::StatusCode::ALREADY_EXISTS, again);
    const auto code = conflict.metadata().find("code");
    Step("conflict ALREADY_SHARED BackupSharing.0002",
         "conflict " + conflict.reason() + " " +
             (code == conflict.metadata().end() ? "?" : code->second));

    ListReceived(run, backups);

    const auto theirs = std::find_if(shared.begin(), shared.end(), [this](const auto& sharing) {
      return sharing.to_project_id() == recipient_;
    });
    if (theirs == shared.end()) {
      throw std::runtime_error("no sharing with the recipient");
    }
    const auto cursor = CheckAccess(first, theirs->id());
    Step("checked yes", "checked yes");

    Step("cancelled 1", "cancelled " + std::to_string(Cancel(theirs->id())));

    api::GetSharingRequest request;
    request.set_project_id(giver_);
    request.set_id(theirs->id());
    api::GetSharingResponse response;
    const auto got = Call(sharings_, &Sharings::GetSharing, giver_token_, request, response);
    Step("gone SHARING_NOT_FOUND",
         "gone " + ExpectFailure(grpc::StatusCode::NOT_FOUND, got).reason());

    Step("watched cancelled", "watched " + FirstEvent(first, cursor).kind());
  }

 private:
  using Access = api::BackupAccessService::Stub;
  using Catalog = api::BackupCatalogService::Stub;
  using Sharings = api::BackupSharingService::Stub;

  void PutBackup(const std::string& id, const std::string& name) {
    api::PutBackupRequest request;
    auto& backup = *request.mutable_backup();
    backup.set_id(id);
    backup.set_project_id(giver_);
    backup.set_name(name);
    backup.set_status("available");
    backup.set_size(10);
    api::PutBackupResponse response;
    Check(Call(catalog_, &Catalog::PutBackup, service_token_, request, response));
  }

  api::ShareBackupRequest ShareRequest(const std::string& backup,
                                       const std::vector<std::string>& recipients) const {
    api::ShareBackupRequest request;
    request.set_project_id(giver_);
    request.mutable_shared()->set_backup_id(backup);
    for (const auto& recipient : recipients) {
      request.mutable_shared()->add_to_project_ids(recipient);
    }
    return request;
  }

  std::vector<api::Sharing> Share(const std::string& backup,
                                  const std::vector<std::string>& recipients) {
    auto request = ShareRequest(backup, recipients);
    // With an idempotency key the call can be retried safely.
    request.set_idempotency_key(NewId());
    api::ShareBackupResponse response;
    Check(Call(sharings_, &Sharings::ShareBackup, giver_token_, request, response));
    return {response.shared().begin(), response.shared().end()};
  }

  void ListReceived(const std::string& name, std::vector<std::string> expected) {
    api::ListSharingsRequest request;
    request.set_project_id(recipient_);
    request.set_share_to_me(true);
    request.set_name(name);
    request.set_limit(2);
    std::vector<std::string> seen;
    int pages = 0;
    do {
      api::ListSharingsResponse page;
      Check(Call(sharings_, &Sharings::ListSharings, recipient_token_, request, page));
      for (const auto& sharing : page.shared()) {
        seen.push_back(sharing.backup_id());
      }
      request.set_page_token(page.next_page_token());
      ++pages;
    } while (!request.page_token().empty());
    std::sort(seen.begin(), seen.end());
    std::sort(expected.begin(), expected.end());
    if (seen != expected) {
      throw std::runtime_error("listed other backups than were shared");
    }
    Step("listed 3 in 2 pages",
         "listed " + std::to_string(seen.size()) + " in " + std::to_string(pages) + " pages");
  }

  /// Asks, as the recipient, whether it may read a backup because of a sharing.
  ///
  /// Returns the cursor of the answer.
  std::string CheckAccess(const std::string& backup, const std::string& sharing) {
    api::CheckAccessRequest request;
    request.set_backup_id(backup);
    request.set_project_id(recipient_);
    api::CheckAccessResponse response;
    Check(Call(access_, &Access::CheckAccess, recipient_token_, request, response));
    if (!response.allowed() || response.sharing_id() != sharing) {
      throw std::runtime_error("no access by " + sharing);
    }
    return response.cursor();
  }

  /// Watches a backup, as the recipient, until its first event after a cursor.
  api::SharingEvent FirstEvent(const std::string& backup, const std::string& cursor) {
    api::WatchSharingsRequest request;
    request.set_project_id(recipient_);
    request.set_backup_id(backup);
    request.set_cursor(cursor);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    context.AddMetadata("x-auth-token", recipient_token_);
    const auto stream = access_.WatchSharings(&context, request);
    api::WatchSharingsResponse response;
    while (stream->Read(&response)) {
      // A response without an event only tells how far the watch has come.
      if (response.has_event()) {
        context.TryCancel();
        return response.event();
      }
    }
    Check(stream->Finish());
    throw std::runtime_error("the watch ended without an event");
  }

  int Cancel(const std::string& id) {
    api::CancelSharingRequest request;
    request.set_project_id(giver_);
    request.set_id(id);
    api::CancelSharingResponse response;
    Check(Call(sharings_, &Sharings::CancelSharing, giver_token_, request, response));
    return response.shared_size();
  }

  Access access_;
  Catalog catalog_;
  Sharings sharings_;
  const std::string giver_ = Environment("BACKUP_SHARING_PROJECT");
  const std::string giver_token_ = Environment("BACKUP_SHARING_TOKEN");
  const std::string recipient_ = Environment("BACKUP_SHARING_RECIPIENT");
  const std::string recipient_token_ = Environment("BACKUP_SHARING_RECIPIENT_TOKEN");
  const std::string other_ = Environment("BACKUP_SHARING_OTHER");
  const std::string service_token_ = Environment("BACKUP_SHARING_SERVICE_TOKEN");
};

}  // namespace

int main() {
  try {
    // Plain text, for a server on the same machine. Use grpc::SslCredentials for TLS.
    Example(
        grpc::CreateChannel(Environment("BACKUP_SHARING_GRPC"), grpc::InsecureChannelCredentials()))
        .Run();
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
