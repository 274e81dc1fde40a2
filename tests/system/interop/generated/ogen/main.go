// A share, a list, an error and a cancel with the client that ogen generates.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/google/uuid"
	"github.com/ogen-go/ogen/ogenerrors"

	"backupsharing.example/rest/rest"
)

type token string

func (t token) Token(context.Context, rest.OperationName) (rest.Token, error) {
	return rest.Token{APIKey: string(t)}, nil
}

func (t token) Bearer(context.Context, rest.OperationName) (rest.Bearer, error) {
	return rest.Bearer{}, ogenerrors.ErrSkipClientSecurity
}

func main() {
	ctx := context.Background()
	project, recipient := variable("PROJECT"), variable("RECIPIENT")
	backup := uuid.MustParse(variable("BACKUP"))
	client, err := rest.NewClient(variable("REST"), token(variable("TOKEN")))
	check(err)

	request := &rest.ShareBackupRequest{Shared: rest.BackupRecipients{
		BackupID:     backup,
		ToProjectIds: []string{recipient, variable("OTHER")},
	}}
	params := rest.BackupSharingServiceShareBackupParams{ProjectID: project}
	shared, err := client.BackupSharingServiceShareBackup(ctx, request, params)
	check(err)
	sharings := shared.(*rest.ShareBackupResponseHeaders).Response.Shared
	first := sharings[0]
	expect(first.ToProjectID == recipient && first.Deleted.IsNull() && len(first.CreatedAt) == 26, first)
	fmt.Println("shared", len(sharings))

	again, err := client.BackupSharingServiceShareBackup(ctx, request, params)
	check(err)
	fmt.Println(409, again.(*rest.Failure409Headers).Response.Error.Code)

	listed, err := client.BackupSharingServiceListSharings(ctx, rest.BackupSharingServiceListSharingsParams{
		ProjectID: project,
		BackupID:  rest.NewOptUUID(backup),
		Limit:     rest.NewOptInt(10),
		SortKey: rest.NewOptBackupSharingServiceListSharingsSortKey(
			rest.BackupSharingServiceListSharingsSortKeyCreatedAt),
	})
	check(err)
	page := listed.(*rest.ListSharingsResponseHeaders).Response.Shared
	for _, sharing := range page {
		expect(sharing.Backup.ID == backup && sharing.Backup.Size.Value == 40, sharing)
	}
	fmt.Println("listed", len(page))

	cancelled, err := client.BackupSharingServiceCancelSharing(ctx,
		rest.BackupSharingServiceCancelSharingParams{ProjectID: project, ID: first.ID})
	check(err)
	_, isDone := cancelled.(*rest.BackupSharingServiceCancelSharingOK)
	expect(isDone, cancelled)
	gone, err := client.BackupSharingServiceGetSharing(ctx,
		rest.BackupSharingServiceGetSharingParams{ProjectID: project, ID: first.ID})
	check(err)
	fmt.Println(404, gone.(*rest.Failure404Headers).Response.Error.Code)
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
