// Command example shares backups over gRPC, lists them as their recipient, and cancels a sharing.
//
// ../README.md describes its output and its environment variables. Run make stubs, then go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "backupsharing.example/stubs/backupsharing/v2"
)

// timeout is the deadline of a call. The server stores nothing in the last second before a deadline.
const timeout = 10 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	connection, err := grpc.NewClient(
		os.Getenv("BACKUP_SHARING_GRPC"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	e := &example{
		catalog:        pb.NewBackupCatalogServiceClient(connection),
		sharings:       pb.NewBackupSharingServiceClient(connection),
		access:         pb.NewBackupAccessServiceClient(connection),
		serviceToken:   os.Getenv("BACKUP_SHARING_SERVICE_TOKEN"),
		giver:          os.Getenv("BACKUP_SHARING_PROJECT"),
		giverToken:     os.Getenv("BACKUP_SHARING_TOKEN"),
		recipient:      os.Getenv("BACKUP_SHARING_RECIPIENT"),
		recipientToken: os.Getenv("BACKUP_SHARING_RECIPIENT_TOKEN"),
		other:          os.Getenv("BACKUP_SHARING_OTHER"),
		name:           "go-" + uuid.NewString(),
		backups:        []string{uuid.NewString(), uuid.NewString(), uuid.NewString()},
	}
	return e.run(context.Background())
}

type example struct {
	catalog  pb.BackupCatalogServiceClient
	sharings pb.BackupSharingServiceClient
	access   pb.BackupAccessServiceClient

	serviceToken              string
	giver, giverToken         string
	recipient, recipientToken string
	other                     string

	name    string   // name of the backups of this run
	backups []string // ids of these backups
}

func (e *example) run(ctx context.Context) error {
	first := e.backups[0]
	for _, backup := range e.backups {
		if err := e.put(ctx, backup); err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	fmt.Println("put", first)

	shared, err := e.share(ctx, first, e.recipient, e.other)
	if err != nil {
		return fmt.Errorf("share: %w", err)
	}
	for _, backup := range e.backups[1:] {
		if _, err := e.share(ctx, backup, e.recipient); err != nil {
			return fmt.Errorf("share: %w", err)
		}
	}
	fmt.Println("shared", len(shared))

	conflict, err := e.conflict(ctx, first)
	if err != nil {
		return fmt.Errorf("conflict: %w", err)
	}
	fmt.Println("conflict", conflict.Reason, conflict.Metadata["code"])

	listed, pages, err := e.list(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	fmt.Println("listed", listed, "in", pages, "pages")

	sharing := shared[0].GetId()
	cursor, err := e.check(ctx, first, sharing)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	fmt.Println("checked yes")

	cancelled, err := e.cancel(ctx, sharing)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	fmt.Println("cancelled", cancelled)

	gone, err := e.gone(ctx, sharing)
	if err != nil {
		return fmt.Errorf("gone: %w", err)
	}
	fmt.Println("gone", gone.Reason)

	event, err := e.watch(ctx, first, cursor)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if event.GetSharingId() != sharing {
		return fmt.Errorf("watch: instead of the end of %s: %v", sharing, event)
	}
	fmt.Println("watched", event.GetKind())
	return nil
}

// put puts a backup into the catalogue, as the backup service does.
func (e *example) put(ctx context.Context, backup string) error {
	ctx, cancel := as(ctx, e.serviceToken)
	defer cancel()
	answer, err := e.catalog.PutBackup(ctx, &pb.PutBackupRequest{Backup: &pb.Backup{
		Id:        backup,
		ProjectId: e.giver,
		Name:      proto.String(e.name),
		Size:      proto.Int32(40),
		Status:    "available",
	}})
	if err != nil {
		return err
	}
	if stored := answer.GetBackup(); stored.GetId() != backup || stored.GetName() != e.name {
		return fmt.Errorf("stored %v", stored)
	}
	return nil
}

// share shares a backup with projects. With the idempotency key the call can be retried safely.
func (e *example) share(ctx context.Context, backup string, recipients ...string) ([]*pb.Sharing, error) {
	ctx, cancel := as(ctx, e.giverToken)
	defer cancel()
	answer, err := e.sharings.ShareBackup(ctx, &pb.ShareBackupRequest{
		ProjectId:      e.giver,
		Shared:         &pb.BackupRecipients{BackupId: backup, ToProjectIds: recipients},
		IdempotencyKey: proto.String(uuid.NewString()),
	})
	if err != nil {
		return nil, err
	}
	shared := answer.GetShared()
	if len(shared) != len(recipients) {
		return nil, fmt.Errorf("%d sharings for %d recipients", len(shared), len(recipients))
	}
	for i, sharing := range shared {
		if sharing.GetBackupId() != backup || sharing.GetToProjectId() != recipients[i] {
			return nil, fmt.Errorf("instead of a sharing of %s with %s: %v", backup, recipients[i], sharing)
		}
	}
	return shared, nil
}

// conflict shares with a project that already has the backup, and returns the ErrorInfo of the failure.
func (e *example) conflict(ctx context.Context, backup string) (*errdetails.ErrorInfo, error) {
	ctx, cancel := as(ctx, e.giverToken)
	defer cancel()
	_, err := e.sharings.ShareBackup(ctx, &pb.ShareBackupRequest{
		ProjectId: e.giver,
		Shared:    &pb.BackupRecipients{BackupId: backup, ToProjectIds: []string{e.recipient}},
	})
	return failure(err, codes.AlreadyExists, "ALREADY_SHARED")
}

// list lists the sharings that the recipient received in this run, two per page. It returns the numbers of sharings
// and pages.
func (e *example) list(ctx context.Context) (listed, pages int, err error) {
	request := &pb.ListSharingsRequest{
		ProjectId: e.recipient,
		ShareToMe: proto.Bool(true),
		Name:      proto.String(e.name),
		Limit:     proto.Int32(2),
	}
	var backups []string
	for {
		page, err := e.page(ctx, request)
		if err != nil {
			return 0, 0, err
		}
		pages++
		for _, sharing := range page.GetShared() {
			if sharing.GetFromProjectId() != e.giver || sharing.GetBackup().GetName() != e.name {
				return 0, 0, fmt.Errorf("not a sharing of this run: %v", sharing)
			}
			backups = append(backups, sharing.GetBackupId())
		}
		request.PageToken = page.GetNextPageToken()
		if request.PageToken == "" {
			break
		}
	}
	slices.Sort(backups)
	if expected := slices.Sorted(slices.Values(e.backups)); !slices.Equal(backups, expected) || pages != 2 {
		return 0, 0, fmt.Errorf("%v in %d pages, not %v in 2", backups, pages, expected)
	}
	return len(backups), pages, nil
}

func (e *example) page(ctx context.Context, request *pb.ListSharingsRequest) (*pb.ListSharingsResponse, error) {
	ctx, cancel := as(ctx, e.recipientToken)
	defer cancel()
	return e.sharings.ListSharings(ctx, request)
}

// check asks, as the recipient, whether it may read a backup because of a sharing. It returns the cursor of the answer.
func (e *example) check(ctx context.Context, backup, sharing string) (string, error) {
	ctx, cancel := as(ctx, e.recipientToken)
	defer cancel()
	answer, err := e.access.CheckAccess(ctx, &pb.CheckAccessRequest{BackupId: backup, ProjectId: e.recipient})
	if err != nil {
		return "", err
	}
	if !answer.GetAllowed() || answer.GetSharingId() != sharing {
		return "", fmt.Errorf("instead of access by %s: %v", sharing, answer)
	}
	return answer.GetCursor(), nil
}

// watch watches a backup, as the recipient, and returns the first event after a cursor. The end of the context ends
// the stream.
func (e *example) watch(ctx context.Context, backup, cursor string) (*pb.SharingEvent, error) {
	ctx, cancel := as(ctx, e.recipientToken)
	defer cancel()
	stream, err := e.access.WatchSharings(ctx, &pb.WatchSharingsRequest{
		ProjectId: e.recipient,
		BackupId:  proto.String(backup),
		Cursor:    proto.String(cursor),
	})
	if err != nil {
		return nil, err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		// A response without an event only tells how far the watch has come.
		if event := answer.GetEvent(); event != nil {
			return event, nil
		}
	}
}

// cancel cancels a sharing, and returns the number of cancelled sharings.
func (e *example) cancel(ctx context.Context, sharing string) (int, error) {
	ctx, cancel := as(ctx, e.giverToken)
	defer cancel()
	answer, err := e.sharings.CancelSharing(ctx, &pb.CancelSharingRequest{ProjectId: e.giver, Id: sharing})
	if err != nil {
		return 0, err
	}
	ended := answer.GetShared()
	if len(ended) != 1 || ended[0].GetId() != sharing || ended[0].GetDeletedAt() == nil {
		return 0, fmt.Errorf("instead of %s ended: %v", sharing, ended)
	}
	return len(ended), nil
}

// gone gets a cancelled sharing, and returns the ErrorInfo of the failure.
func (e *example) gone(ctx context.Context, sharing string) (*errdetails.ErrorInfo, error) {
	ctx, cancel := as(ctx, e.giverToken)
	defer cancel()
	_, err := e.sharings.GetSharing(ctx, &pb.GetSharingRequest{ProjectId: e.giver, Id: sharing})
	return failure(err, codes.NotFound, "SHARING_NOT_FOUND")
}

// as returns the context of one call, with the caller's token and the deadline.
func as(ctx context.Context, token string) (context.Context, context.CancelFunc) {
	return context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "x-auth-token", token), timeout)
}

// failure returns the ErrorInfo of err, which must have this code and this reason.
func failure(err error, code codes.Code, reason string) (*errdetails.ErrorInfo, error) {
	if err == nil {
		return nil, errors.New("the call succeeded")
	}
	failed := status.Convert(err)
	for _, detail := range failed.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if ok && failed.Code() == code && info.GetReason() == reason {
			return info, nil
		}
	}
	return nil, fmt.Errorf("not %s: %w", reason, err)
}
