// Command gosdk shares backups with the unmodified Go SDK of Open Telekom Cloud: it logs in to Keystone, finds the
// service in the catalogue, makes every call of openstack/vbs/v2/shares, and checks everything that the SDK decodes.
//
// Environment variables define address and user: OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_USER_DOMAIN_NAME,
// OS_REGION_NAME, OS_PROJECT_ID (the giver), BACKUP_SHARING_RECIPIENT, BACKUP_SHARING_OTHER, and BACKUP_SHARING_REST,
// the address in the catalogue. The giver has the backups of backups.json.
package main

import (
	"fmt"
	"os"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/vbs/v2/shares"
)

// scenario is the shared state of the steps.
type scenario struct {
	rest             string
	giver, recipient *golangsdk.ServiceClient
	other            string
	full, bare, zero shares.Backup
	// Sharings from Create, in order: full with recipient and other, bare with recipient, zero with other.
	created []shares.Share
}

func main() {
	s, err := begin()
	if err != nil {
		fail("log in", err)
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"catalogue", s.catalogue},
		{"create", s.create},
		{"get", s.get},
		{"list", s.list},
		{"pages", s.pages},
		{"refused", s.refused},
		{"token renewed", s.renewed},
		{"delete one", s.deleteOne},
		{"delete all", s.deleteAll},
		{"share again", s.shareAgain},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			fail(step.name, err)
		}
		fmt.Println(step.name)
	}
}

func fail(step string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
	os.Exit(1)
}

func begin() (*scenario, error) {
	backups, err := readBackups()
	if err != nil {
		return nil, err
	}
	s := &scenario{
		rest:  os.Getenv("BACKUP_SHARING_REST"),
		other: os.Getenv("BACKUP_SHARING_OTHER"),
		full:  backups["go-sdk full"],
		bare:  backups["go-sdk bare"],
		zero:  backups["go-sdk zero"],
	}
	if s.giver, err = dial(os.Getenv("OS_PROJECT_ID")); err != nil {
		return nil, err
	}
	s.recipient, err = dial(os.Getenv("BACKUP_SHARING_RECIPIENT"))
	return s, err
}

// backupOf returns the backup of a sharing.
func (s *scenario) backupOf(sharing shares.Share) shares.Backup {
	for _, backup := range []shares.Backup{s.full, s.bare, s.zero} {
		if backup.ID == sharing.BackupID {
			return backup
		}
	}
	return shares.Backup{}
}
