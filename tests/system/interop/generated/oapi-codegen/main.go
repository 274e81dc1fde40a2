// A share, a list, an error and a cancel with the client that oapi-codegen generates.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/google/uuid"

	"backupsharing.example/rest/rest"
)

func main() {
	ctx := context.Background()
	project, recipient := variable("PROJECT"), variable("RECIPIENT")
	backup := uuid.MustParse(variable("BACKUP"))
	client, err := rest.NewClientWithResponses(variable("REST"), rest.WithRequestEditorFn(
		func(_ context.Context, request *http.Request) error {
			request.Header.Set("X-Auth-Token", variable("TOKEN"))
			return nil
		}))
	check(err)

	request := rest.ShareBackupRequest{Shared: rest.BackupRecipients{
		BackupId:     backup,
		ToProjectIds: []string{recipient, variable("OTHER")},
	}}
	shared, err := client.BackupSharingServiceShareBackupWithResponse(ctx, project, nil, request)
	check(err)
	first := shared.JSON200.Shared[0]
	expect(first.ToProjectId == recipient && first.Deleted == nil && len(first.CreatedAt) == 26, first)
	fmt.Println("shared", len(shared.JSON200.Shared))

	again, err := client.BackupSharingServiceShareBackupWithResponse(ctx, project, nil, request)
	check(err)
	fmt.Println(again.StatusCode(), again.JSON409.Error.Code)

	limit, key := 10, rest.CreatedAt
	listed, err := client.BackupSharingServiceListSharingsWithResponse(ctx, project,
		&rest.BackupSharingServiceListSharingsParams{BackupId: &backup, Limit: &limit, SortKey: &key})
	check(err)
	for _, sharing := range listed.JSON200.Shared {
		expect(sharing.Backup.Id == backup && *sharing.Backup.Size == 40, sharing)
	}
	fmt.Println("listed", len(listed.JSON200.Shared))

	cancelled, err := client.BackupSharingServiceCancelSharingWithResponse(ctx, project, first.Id, nil)
	check(err)
	expect(cancelled.StatusCode() == http.StatusOK, cancelled.Status())
	gone, err := client.BackupSharingServiceGetSharingWithResponse(ctx, project, first.Id)
	check(err)
	fmt.Println(gone.StatusCode(), gone.JSON404.Error.Code)
}

func variable(name string) string { return os.Getenv("BACKUP_SHARING_" + name) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(holds bool, got any) {
	if !holds {
		log.Fatalf("unexpected: %+v", got)
	}
}
