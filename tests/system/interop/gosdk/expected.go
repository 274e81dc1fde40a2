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

// The backups that the catalogue has, as whoever runs this program put them.
//
//go:embed backups.json
var backupsFile []byte

// backup is one of them, read without the SDK: a member that is not there is null in answers, and zero to the SDK.
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

// readBackups answers what the SDK is to decode for each backup, by its name.
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

// checkDetail checks a sharing as Get and List answer it against what Create answered.
func checkDetail(found shares.Share, created shares.Share, backup shares.Backup) error {
	created.Backup = backup
	if found != created {
		return fmt.Errorf("found\n%+v, want\n%+v", found, created)
	}
	return nil
}

// checkCode checks the code that a failure's body has: the SDK hands bodies on unread.
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

// checkMissing checks that a call failed as the SDK's users are told that something does not exist.
func checkMissing(err error) error {
	var missing golangsdk.ErrDefault404
	if !errors.As(err, &missing) {
		return fmt.Errorf("got %v, want ErrDefault404", err)
	}
	return checkCode(missing.ErrUnexpectedResponseCode, "VolumeBackup.0043")
}
