package example;

import backupsharing.v2.Backup;
import backupsharing.v2.BackupAccessServiceGrpc;
import backupsharing.v2.BackupAccessServiceGrpc.BackupAccessServiceBlockingStub;
import backupsharing.v2.BackupCatalogServiceGrpc;
import backupsharing.v2.BackupCatalogServiceGrpc.BackupCatalogServiceBlockingStub;
import backupsharing.v2.BackupRecipients;
import backupsharing.v2.BackupSharingServiceGrpc;
import backupsharing.v2.BackupSharingServiceGrpc.BackupSharingServiceBlockingStub;
import backupsharing.v2.CancelSharingRequest;
import backupsharing.v2.CheckAccessRequest;
import backupsharing.v2.CheckAccessResponse;
import backupsharing.v2.GetSharingRequest;
import backupsharing.v2.ListSharingsRequest;
import backupsharing.v2.ListSharingsResponse;
import backupsharing.v2.PutBackupRequest;
import backupsharing.v2.ShareBackupRequest;
import backupsharing.v2.Sharing;
import backupsharing.v2.SharingDetail;
import backupsharing.v2.SharingEvent;
import backupsharing.v2.WatchSharingsRequest;
import backupsharing.v2.WatchSharingsResponse;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.MetadataUtils;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Shares backups over gRPC, lists the sharings, and cancels one: see examples/README.md. */
public final class ShareBackup {

  /** The response of the service is not the expected one. */
  private static final class Unexpected extends RuntimeException {
    Unexpected(String message) {
      super(message);
    }
  }

  private static final Metadata.Key<String> TOKEN =
      Metadata.Key.of("x-auth-token", Metadata.ASCII_STRING_MARSHALLER);
  private static final int DEADLINE_SECONDS = 10;

  private final ManagedChannel channel;
  private final String giver = environment("BACKUP_SHARING_PROJECT");
  private final String recipient = environment("BACKUP_SHARING_RECIPIENT");
  private final String other = environment("BACKUP_SHARING_OTHER");

  private ShareBackup(ManagedChannel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) {
    // Plain text, for a server on the same machine. Use TlsChannelCredentials for TLS.
    ManagedChannel channel =
        Grpc.newChannelBuilder(
                environment("BACKUP_SHARING_GRPC"), InsecureChannelCredentials.create())
            .build();
    int exitCode = 0;
    try {
      new ShareBackup(channel).run();
    } catch (StatusRuntimeException | Unexpected failure) {
      System.err.println(failure.getMessage());
      exitCode = 1;
    } finally {
      channel.shutdownNow();
    }
    System.exit(exitCode);
  }

  private void run() {
    String run = "java-" + UUID.randomUUID();
    List<String> backups = List.of(newId(), newId(), newId());
    String first = backups.get(0);

    for (String backup : backups) {
      putBackup(backup, run);
    }
    step("put " + first, "put " + first);

    List<Sharing> shared = share(first, recipient, other);
    for (String backup : backups.subList(1, backups.size())) {
      share(backup, recipient);
    }
    step("shared 2", "shared " + shared.size());

    ErrorInfo conflict =
        expectFailure(
            Code.ALREADY_EXISTS,
            () -> sharings("BACKUP_SHARING_TOKEN").shareBackup(request(first, recipient).build()));
    step(
        "conflict ALREADY_SHARED BackupSharing.0002",
        "conflict " + conflict.getReason() + " " + conflict.getMetadataOrDefault("code", "?"));

    listReceived(run, Set.copyOf(backups));

    String cancelled =
        shared.stream()
            .filter(sharing -> sharing.getToProjectId().equals(recipient))
            .findFirst()
            .orElseThrow(() -> new Unexpected("no sharing with the recipient"))
            .getId();
    CheckAccessResponse checked =
        access()
            .checkAccess(
                CheckAccessRequest.newBuilder().setBackupId(first).setProjectId(recipient).build());
    if (!checked.getSharingId().equals(cancelled)) {
      throw new Unexpected("the recipient may read the backup because of " + checked);
    }
    step("checked yes", "checked " + (checked.getAllowed() ? "yes" : "no"));

    int ended =
        sharings("BACKUP_SHARING_TOKEN")
            .cancelSharing(
                CancelSharingRequest.newBuilder().setProjectId(giver).setId(cancelled).build())
            .getSharedCount();
    step("cancelled 1", "cancelled " + ended);

    ErrorInfo gone =
        expectFailure(
            Code.NOT_FOUND,
            () ->
                sharings("BACKUP_SHARING_TOKEN")
                    .getSharing(
                        GetSharingRequest.newBuilder()
                            .setProjectId(giver)
                            .setId(cancelled)
                            .build()));
    step("gone SHARING_NOT_FOUND", "gone " + gone.getReason());

    step("watched cancelled", "watched " + firstEvent(first, checked.getCursor()).getKind());
  }

  private void putBackup(String id, String name) {
    Backup backup =
        Backup.newBuilder()
            .setId(id)
            .setProjectId(giver)
            .setName(name)
            .setStatus("available")
            .setSize(10)
            .build();
    catalog().putBackup(PutBackupRequest.newBuilder().setBackup(backup).build());
  }

  private ShareBackupRequest.Builder request(String backup, String... recipients) {
    return ShareBackupRequest.newBuilder()
        .setProjectId(giver)
        .setShared(
            BackupRecipients.newBuilder()
                .setBackupId(backup)
                .addAllToProjectIds(List.of(recipients)));
  }

  private List<Sharing> share(String backup, String... recipients) {
    // With an idempotency key the call can be retried safely.
    ShareBackupRequest request =
        request(backup, recipients).setIdempotencyKey(UUID.randomUUID().toString()).build();
    return sharings("BACKUP_SHARING_TOKEN").shareBackup(request).getSharedList();
  }

  private void listReceived(String name, Set<String> expected) {
    ListSharingsRequest.Builder request =
        ListSharingsRequest.newBuilder()
            .setProjectId(recipient)
            .setShareToMe(true)
            .setName(name)
            .setLimit(2);
    List<String> seen = new ArrayList<>();
    int pages = 0;
    do {
      ListSharingsResponse page =
          sharings("BACKUP_SHARING_RECIPIENT_TOKEN").listSharings(request.build());
      page.getSharedList().stream().map(SharingDetail::getBackupId).forEach(seen::add);
      request.setPageToken(page.getNextPageToken());
      pages++;
    } while (!request.getPageToken().isEmpty());
    if (!Set.copyOf(seen).equals(expected)) {
      throw new Unexpected("listed the backups " + seen + ", expected " + expected);
    }
    step("listed 3 in 2 pages", "listed " + seen.size() + " in " + pages + " pages");
  }

  /** Watches a backup, as the recipient, until its first event after a cursor. */
  private SharingEvent firstEvent(String backup, String cursor) {
    WatchSharingsRequest request =
        WatchSharingsRequest.newBuilder()
            .setProjectId(recipient)
            .setBackupId(backup)
            .setCursor(cursor)
            .build();
    // The end of the context ends the stream.
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      Context before = context.attach();
      try {
        Iterator<WatchSharingsResponse> responses = access().watchSharings(request);
        while (responses.hasNext()) {
          WatchSharingsResponse response = responses.next();
          // A response without an event only tells how far the watch has come.
          if (response.hasEvent()) {
            return response.getEvent();
          }
        }
      } finally {
        context.detach(before);
      }
    }
    throw new Unexpected("the watch ended without an event");
  }

  private BackupAccessServiceBlockingStub access() {
    return prepared(
        BackupAccessServiceGrpc.newBlockingStub(channel), "BACKUP_SHARING_RECIPIENT_TOKEN");
  }

  private BackupCatalogServiceBlockingStub catalog() {
    return prepared(
        BackupCatalogServiceGrpc.newBlockingStub(channel), "BACKUP_SHARING_SERVICE_TOKEN");
  }

  private BackupSharingServiceBlockingStub sharings(String tokenVariable) {
    return prepared(BackupSharingServiceGrpc.newBlockingStub(channel), tokenVariable);
  }

  /** Returns a stub for one call; the deadline counts from now. */
  private static <S extends AbstractStub<S>> S prepared(S stub, String tokenVariable) {
    Metadata headers = new Metadata();
    headers.put(TOKEN, environment(tokenVariable));
    return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
        .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  /** Makes a call that must fail with this code, and returns its ErrorInfo. */
  private static ErrorInfo expectFailure(Code code, Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException failure) {
      Status status = StatusProto.fromThrowable(failure);
      if (status == null || status.getCode() != code.getNumber()) {
        throw failure;
      }
      return errorInfo(status);
    }
    throw new Unexpected("a call succeeded that should fail with " + code);
  }

  private static ErrorInfo errorInfo(Status status) {
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          return detail.unpack(ErrorInfo.class);
        }
      }
    } catch (InvalidProtocolBufferException failure) {
      throw new Unexpected("ErrorInfo cannot be read: " + failure.getMessage());
    }
    throw new Unexpected("no ErrorInfo in " + status);
  }

  private static void step(String expected, String actual) {
    System.out.println(actual);
    if (!actual.equals(expected)) {
      throw new Unexpected("expected " + expected);
    }
  }

  private static String newId() {
    return UUID.randomUUID().toString();
  }

  private static String environment(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new Unexpected(name + " is not set");
    }
    return value;
  }
}
