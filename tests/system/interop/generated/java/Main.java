import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.BackupSharingServiceApi;
import org.openapitools.client.model.BackupRecipients;
import org.openapitools.client.model.ErrorResponse;
import org.openapitools.client.model.ShareBackupRequest;

/** A share, a list, an error and a cancel with the client that openapi-generator generates for Java. */
public final class Main {
  private interface Call {
    void make() throws ApiException;
  }

  public static void main(String[] arguments) throws Exception {
    String project = variable("PROJECT");
    String recipient = variable("RECIPIENT");
    UUID backup = UUID.fromString(variable("BACKUP"));
    ApiClient client = new ApiClient();
    client.updateBaseUri(variable("REST"));
    Map<String, String> token = Map.of("X-Auth-Token", variable("TOKEN"));
    var api = new BackupSharingServiceApi(client);

    var request =
        new ShareBackupRequest().shared(new BackupRecipients().backupId(backup));
    request.getShared().setToProjectIds(new LinkedHashSet<>(List.of(recipient, variable("OTHER"))));
    var shared = api.backupSharingServiceShareBackup(project, request, null, null, token).getShared();
    var first = shared.get(0);
    expect(first.getToProjectId().equals(recipient) && first.getDeleted() == null, first);
    expect(first.getCreatedAt().length() == 26, first);
    System.out.println("shared " + shared.size());
    failure(() -> api.backupSharingServiceShareBackup(project, request, null, null, token));

    var listed =
        api.backupSharingServiceListSharings(
                project, null, null, null, null, backup, null, null, null, "created_at", null, 10, null, token)
            .getShared();
    for (var one : listed) {
      expect(one.getBackup().getId().equals(backup) && one.getBackup().getSize() == 40, one);
    }
    System.out.println("listed " + listed.size());

    api.backupSharingServiceCancelSharing(project, first.getId(), null, null, token);
    failure(() -> api.backupSharingServiceGetSharing(project, first.getId(), token));
  }

  private static void failure(Call call) throws Exception {
    try {
      call.make();
    } catch (ApiException failure) {
      var body = ApiClient.createDefaultObjectMapper().readValue(failure.getResponseBody(), ErrorResponse.class);
      System.out.println(failure.getCode() + " " + body.getError().getCode());
    }
  }

  private static String variable(String name) {
    return System.getenv("BACKUP_SHARING_" + name);
  }

  private static void expect(boolean holds, Object got) {
    if (!holds) {
      throw new IllegalStateException("unexpected: " + got);
    }
  }
}
