package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/vbs/v2/shares"
)

// Backups in the catalogue; the caller of this program has put them there.
//
//go:embed backups.json
var backupsFile []byte

// backup is a backup parsed without the SDK. A missing member is null in responses and zero in the SDK.
type backup struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	Status           string    `json:"status"`
	Description      string    `json:"description"`
	AvailabilityZone string    `json:"availability_zone"`
	VolumeID         string    `json:"volume_id"`
	FailReason       string    `json:"fail_reason"`
	Size             int       `json:"size"`
	ObjectCount      int       `json:"object_count"`
	Container        string    `json:"container"`
	CreatedAt        time.Time `json:"created_at"`
	ServiceMetadata  string    `json:"service_metadata"`
	UpdatedAt        time.Time `json:"updated_at"`
	DataTimeStamp    time.Time `json:"data_timestamp"`
	DependentBackups bool      `json:"has_dependent_backups"`
	SnapshotID       string    `json:"snapshot_id"`
	IsIncremental    bool      `json:"is_incremental"`
}

// readBackups returns the backups that the SDK must decode, by name.
func readBackups() (map[string]shares.Backup, error) {
	var all []backup
	if err := json.Unmarshal(backupsFile, &all); err != nil {
		return nil, err
	}
	byName := map[string]shares.Backup{}
	for _, one := range all {
		byName[one.Name] = shares.Backup(one)
	}
	return byName, nil
}

// checkDetail compares a sharing from Get or List with the sharing from Create.
func checkDetail(found shares.Share, created shares.Share, backup shares.Backup) error {
	created.Backup = backup
	if found != created {
		return fmt.Errorf("found\n%+v, want\n%+v", found, created)
	}
	return nil
}

// checkCode checks the code in a failure's body, which the SDK passes on unparsed.
func checkCode(refused golangsdk.ErrUnexpectedResponseCode, want string) error {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(refused.Body, &body); err != nil {
		return err
	}
	if body.Error.Code != want || body.Error.Message == "" {
		return fmt.Errorf("refused with %s, want the code %s and a message", refused.Body, want)
	}
	return nil
}

// checkMissing checks that a call failed with the SDK's error for a missing object.
func checkMissing(err error) error {
	var missing golangsdk.ErrDefault404
	if !errors.As(err, &missing) {
		return fmt.Errorf("got %v, want ErrDefault404", err)
	}
	return checkCode(missing.ErrUnexpectedResponseCode, "VolumeBackup.0043")
}
