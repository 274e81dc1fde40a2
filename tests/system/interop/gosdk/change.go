package main

import (
	"errors"
	"fmt"
	"time"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/vbs/v2/shares"
)

// share shares a backup and checks the whole response.
func (s *scenario) share(backup shares.Backup, recipients ...string) ([]shares.Share, error) {
	began := time.Now().Add(-time.Second)
	answered, err := shares.Create(s.giver, shares.CreateOpts{BackupID: backup.ID, ToProjectIDs: recipients}).Extract()
	if err != nil {
		return nil, err
	}
	if len(answered) != len(recipients) {
		return nil, fmt.Errorf("%d sharings for %d recipients", len(answered), len(recipients))
	}
	for i, one := range answered {
		// Generated values come from the response; all other values must be equal, with Deleted and times unset.
		want := shares.Share{
			ID:            one.ID,
			BackupID:      backup.ID,
			FromProjectID: s.giver.ProjectID,
			ToProjectID:   recipients[i],
			CreatedAt:     one.CreatedAt,
		}
		if one != want {
			return nil, fmt.Errorf("created\n%+v, want\n%+v", one, want)
		}
		if one.ID == "" || one.CreatedAt.Before(began) || one.CreatedAt.After(time.Now().Add(time.Second)) {
			return nil, fmt.Errorf("created %q at %s, want an id and the current time", one.ID, one.CreatedAt)
		}
	}
	return answered, nil
}

func (s *scenario) create() error {
	recipient := s.recipient.ProjectID
	for _, wish := range []struct {
		backup     shares.Backup
		recipients []string
	}{
		{s.full, []string{recipient, s.other}},
		{s.bare, []string{recipient}},
		{s.zero, []string{s.other}},
	} {
		answered, err := s.share(wish.backup, wish.recipients...)
		if err != nil {
			return err
		}
		s.created = append(s.created, answered...)
	}
	return nil
}

// refused checks that failures have the SDK's own error types, which users distinguish.
func (s *scenario) refused() error {
	_, err := s.share(s.full, s.recipient.ProjectID)
	var conflict golangsdk.ErrDefault409
	if !errors.As(err, &conflict) {
		return fmt.Errorf("sharing twice: got %v, want ErrDefault409", err)
	}
	if err := checkCode(conflict.ErrUnexpectedResponseCode, "BackupSharing.0002"); err != nil {
		return err
	}
	_, err = s.share(shares.Backup{ID: "no-uuid"}, s.other)
	var malformed golangsdk.ErrDefault400
	if !errors.As(err, &malformed) {
		return fmt.Errorf("malformed backup id: got %v, want ErrDefault400", err)
	}
	if err := checkCode(malformed.ErrUnexpectedResponseCode, "VolumeBackup.0204"); err != nil {
		return err
	}
	err = shares.Delete(s.recipient, s.created[0].ID, shares.DeleteOpts{}).ExtractErr()
	var forbidden golangsdk.ErrDefault403
	if !errors.As(err, &forbidden) {
		return fmt.Errorf("cancelled by the recipient: got %v, want ErrDefault403", err)
	}
	return checkCode(forbidden.ErrUnexpectedResponseCode, "VolumeBackup.0042")
}

// renewed checks that after the response to an expired token, the SDK logs in again and repeats the call.
func (s *scenario) renewed() error {
	s.giver.SetToken("expired")
	if err := s.get(); err != nil {
		return err
	}
	if s.giver.Token() == "expired" {
		return errors.New("the SDK did not log in again")
	}
	return nil
}

func (s *scenario) deleteOne() error {
	gone := s.created[0]
	if err := shares.Delete(s.giver, gone.ID, shares.DeleteOpts{}).ExtractErr(); err != nil {
		return err
	}
	if err := checkMissing(shares.Get(s.giver, gone.ID).Err); err != nil {
		return err
	}
	if err := checkMissing(shares.Delete(s.giver, gone.ID, nil).Err); err != nil {
		return err
	}
	return s.want(s.giver, shares.ListOpts{}, 1, 2, 3)
}

func (s *scenario) deleteAll() error {
	for _, backup := range []shares.Backup{s.full, s.bare, s.zero} {
		if err := shares.Delete(s.giver, backup.ID, shares.DeleteOpts{IsBackupID: true}).ExtractErr(); err != nil {
			return err
		}
		left, err := shares.List(s.giver, shares.ListOpts{BackupID: backup.ID})
		if err != nil {
			return err
		}
		if len(left) != 0 {
			return fmt.Errorf("%d sharings of %s are left", len(left), backup.Name)
		}
	}
	for _, gone := range s.created {
		if err := checkMissing(shares.Get(s.giver, gone.ID).Err); err != nil {
			return err
		}
	}
	return s.want(s.recipient, shares.ListOpts{ShareToMe: true})
}

// shareAgain shares again after cancelling all, as Terraform does when recipients change.
func (s *scenario) shareAgain() error {
	again, err := s.share(s.full, s.recipient.ProjectID, s.other)
	if err != nil {
		return err
	}
	for _, one := range again {
		for _, before := range s.created {
			if one.ID == before.ID {
				return fmt.Errorf("%s came back, want a new id", one.ID)
			}
		}
	}
	return shares.Delete(s.giver, s.full.ID, shares.DeleteOpts{IsBackupID: true}).ExtractErr()
}
