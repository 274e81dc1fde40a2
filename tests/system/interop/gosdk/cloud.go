package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/vbs/v2/shares"
)

// login gets a token for the project from Keystone.
func login(project string) (*golangsdk.ProviderClient, error) {
	return openstack.AuthenticatedClient(golangsdk.AuthOptions{
		IdentityEndpoint: os.Getenv("OS_AUTH_URL"),
		Username:         os.Getenv("OS_USERNAME"),
		Password:         os.Getenv("OS_PASSWORD"),
		DomainName:       os.Getenv("OS_USER_DOMAIN_NAME"),
		TenantID:         project,
		AllowReauth:      true,
	})
}

// region returns the region, without which the SDK uses the project's name.
func region() golangsdk.EndpointOpts {
	return golangsdk.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")}
}

// dial logs in and finds the service in the way of most users.
func dial(project string) (*golangsdk.ServiceClient, error) {
	provider, err := login(project)
	if err != nil {
		return nil, err
	}
	return openstack.NewVBS(provider, region())
}

// catalogue checks that the SDK finds the service under each of its service types.
func (s *scenario) catalogue() error {
	vbs := region()
	vbs.Type = "vbs"
	finders := map[string]func() (*golangsdk.ServiceClient, error){
		"volumev2": func() (*golangsdk.ServiceClient, error) { return openstack.NewVBS(s.giver.ProviderClient, region()) },
		"vbsv2": func() (*golangsdk.ServiceClient, error) {
			return openstack.NewVBSServiceV2(s.giver.ProviderClient, region())
		},
		"vbs": func() (*golangsdk.ServiceClient, error) {
			return openstack.NewVBSServiceV2(s.giver.ProviderClient, vbs)
		},
	}
	want := fmt.Sprintf("%s/v2/%s/", s.rest, s.giver.ProjectID)
	for kind, find := range finders {
		client, err := find()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if client.Endpoint != want {
			return fmt.Errorf("%s is at %s, want %s", kind, client.Endpoint, want)
		}
		if _, err := shares.List(client, shares.ListOpts{Limit: 1}); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return s.neighbour()
}

// neighbour checks the real clouds' case: their catalogue has EVS under volumev2, and the SDK replaces the host name
// by that of VBS. Only this client resolves these names.
func (s *scenario) neighbour() error {
	provider, err := login(s.giver.ProjectID)
	if err != nil {
		return err
	}
	gateway := strings.TrimPrefix(s.rest, "http://")
	found := provider.EndpointLocator
	provider.EndpointLocator = func(wanted golangsdk.EndpointOpts) (string, error) {
		url, err := found(wanted)
		return strings.Replace(url, gateway, "evs.cloud.test", 1), err
	}
	asked := ""
	provider.HTTPClient.Transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			asked = address
			return new(net.Dialer).DialContext(ctx, network, gateway)
		},
	}
	client, err := openstack.NewVBS(provider, region())
	if err != nil {
		return err
	}
	if _, err := shares.List(client, shares.ListOpts{}); err != nil {
		return err
	}
	if asked != "vbs.cloud.test:80" {
		return fmt.Errorf("volumev2 at evs.cloud.test was called at %s, want vbs.cloud.test:80", asked)
	}
	return nil
}
