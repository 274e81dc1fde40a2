package main

import (
	"fmt"
	"slices"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/vbs/v2/shares"
	"github.com/opentelekomcloud/gophertelekomcloud/pagination"
)

func (s *scenario) get() error {
	for _, created := range s.created {
		found, err := shares.Get(s.giver, created.ID).ExtractShare()
		if err != nil {
			return err
		}
		if err := checkDetail(*found, created, s.backupOf(created)); err != nil {
			return err
		}
	}
	received, err := shares.Get(s.recipient, s.created[0].ID).ExtractShare()
	if err != nil {
		return err
	}
	return checkDetail(*received, s.created[0], s.full)
}

// want checks that a list contains exactly these of the created sharings, by index, complete and in any order. Other
// sharings are ignored, because other clients may share in the same project.
func (s *scenario) want(client *golangsdk.ServiceClient, filter shares.ListOpts, indices ...int) error {
	listed, err := shares.List(client, filter)
	if err != nil {
		return fmt.Errorf("%+v: %w", filter, err)
	}
	found, err := s.ours(listed)
	if err != nil {
		return fmt.Errorf("%+v: %w", filter, err)
	}
	slices.Sort(found)
	if !slices.Equal(found, indices) {
		return fmt.Errorf("%+v has %v, want %v", filter, found, indices)
	}
	return nil
}

// ours checks the listed sharings that this scenario created, and returns their indices.
func (s *scenario) ours(listed []shares.Share) ([]int, error) {
	var found []int
	for _, one := range listed {
		for i, created := range s.created {
			if one.ID != created.ID {
				continue
			}
			if err := checkDetail(one, created, s.backupOf(created)); err != nil {
				return nil, err
			}
			found = append(found, i)
		}
	}
	return found, nil
}

// list tries each filter of the SDK, unpaged and with a page size of 1, because links must keep the filter.
func (s *scenario) list() error {
	recipient := s.recipient.ProjectID
	for _, try := range []struct {
		client *golangsdk.ServiceClient
		filter shares.ListOpts
		want   []int
	}{
		{s.giver, shares.ListOpts{}, []int{0, 1, 2, 3}},
		{s.giver, shares.ListOpts{ShareToMe: true}, nil},
		{s.recipient, shares.ListOpts{}, nil},
		{s.recipient, shares.ListOpts{ShareToMe: true}, []int{0, 2}},
		{s.giver, shares.ListOpts{Name: "GO-SDK F"}, []int{0, 1}},
		{s.giver, shares.ListOpts{Name: "go-sdk%"}, nil},
		{s.giver, shares.ListOpts{Status: "available"}, []int{0, 1, 2, 3}},
		{s.giver, shares.ListOpts{Status: "error"}, nil},
		{s.giver, shares.ListOpts{BackupID: s.full.ID}, []int{0, 1}},
		{s.recipient, shares.ListOpts{ShareToMe: true, FromProjectID: s.giver.ProjectID}, []int{0, 2}},
		{s.recipient, shares.ListOpts{ShareToMe: true, FromProjectID: s.other}, nil},
		{s.giver, shares.ListOpts{ToProjectID: s.other}, []int{1, 3}},
		{s.giver, shares.ListOpts{ToProjectID: recipient, Name: "full"}, []int{0}},
		{s.giver, shares.ListOpts{AvailabilityZone: s.full.AvailabilityZone}, []int{0, 1}},
		{s.giver, shares.ListOpts{VolumeID: s.full.VolumeID}, []int{0, 1}},
		// The SDK does not send these two filters; it filters the complete list.
		{s.giver, shares.ListOpts{ID: s.created[2].ID}, []int{2}},
		{s.giver, shares.ListOpts{SnapshotID: s.full.SnapshotID}, []int{0, 1}},
	} {
		for _, try.filter.Limit = range []int{0, 1} {
			if err := s.want(try.client, try.filter, try.want...); err != nil {
				return err
			}
		}
	}
	return s.sorted()
}

// sorted checks both orders by creation time; sharings of one call may have equal times.
func (s *scenario) sorted() error {
	ascending, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk", SortDir: shares.SortAsc})
	if err != nil {
		return err
	}
	byTime := func(one, other shares.Share) int { return one.CreatedAt.Compare(other.CreatedAt) }
	if len(ascending) != 4 || !slices.IsSortedFunc(ascending, byTime) || byTime(ascending[0], ascending[3]) == 0 {
		return fmt.Errorf("ascending is %+v", ascending)
	}
	paged, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk", SortDir: shares.SortAsc, Limit: 1})
	if err != nil {
		return err
	}
	if !slices.Equal(paged, ascending) {
		return fmt.Errorf("ascending over pages is %+v, want %+v", paged, ascending)
	}
	for _, direction := range []shares.SortDir{shares.SortDesc, ""} {
		descending, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk", SortDir: direction})
		if err != nil {
			return err
		}
		slices.Reverse(descending)
		if !slices.Equal(ascending, descending) {
			return fmt.Errorf("%q is %+v, want the reverse of %+v", direction, descending, ascending)
		}
	}
	return nil
}

// pages checks that all pages together are complete and keep the filter, and the length of each page.
func (s *scenario) pages() error {
	whole, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk"})
	if err != nil {
		return err
	}
	for limit := 1; limit <= 4; limit++ {
		paged, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk", Limit: limit})
		if err != nil {
			return err
		}
		if !slices.Equal(paged, whole) {
			return fmt.Errorf("%d a page: %+v, want %+v", limit, paged, whole)
		}
		rest, err := shares.List(s.giver, shares.ListOpts{Name: "go-sdk", Limit: limit, Offset: 1})
		if err != nil {
			return err
		}
		if !slices.Equal(rest, whole[1:]) {
			return fmt.Errorf("%d a page after the first: %+v, want %+v", limit, rest, whole[1:])
		}
	}
	for limit, want := range map[int][]int{1: {1, 1, 1, 1}, 2: {2, 2}, 3: {3, 1}, 4: {4}} {
		lengths, err := s.lengths(fmt.Sprintf("?name=go-sdk&limit=%d", limit))
		if err != nil {
			return err
		}
		if !slices.Equal(lengths, want) {
			return fmt.Errorf("pages of %v, want of %v", lengths, want)
		}
	}
	return nil
}

// lengths returns the number of sharings per page, read with a pager of a user's own.
func (s *scenario) lengths(query string) ([]int, error) {
	var lengths []int
	url := s.giver.ServiceURL("os-vendor-backup-sharing", "detail") + query
	pager := pagination.NewPager(s.giver, url, func(result pagination.PageResult) pagination.Page {
		return shares.SharePage{LinkedPageBase: pagination.LinkedPageBase{PageResult: result}}
	})
	err := pager.EachPage(func(page pagination.Page) (bool, error) {
		listed, err := shares.ExtractShareList(page)
		lengths = append(lengths, len(listed))
		return true, err
	})
	return lengths, err
}
