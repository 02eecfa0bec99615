package server

import (
	"context"
	"path/filepath"

	"github.com/twinlog/twinlog/adapters/identity/local"
	"github.com/twinlog/twinlog/cmd/importer"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Who returns who imports into a data directory whose log is open here.
func Who(ctx context.Context, data string, log eventlog.Log) (importer.Who, error) {
	people, err := local.Open(ctx, filepath.Join(data, "keys"), log)
	if err != nil {
		return nil, err
	}
	return who(people), nil
}

// who names the importer: a person if one is named, whose name is claimed and
// not proved, else the service itself.
func who(people *local.People) importer.Who {
	return func(ctx context.Context, operator string) (eventlog.Actor, error) {
		if operator == "" {
			return eventlog.Actor{Subject: "import", Kind: eventlog.Service, AuthMethods: []string{"none"}}, nil
		}
		subject, err := people.Identify(ctx, operator)
		return eventlog.Actor{Subject: subject, Kind: eventlog.Human, AuthMethods: []string{"none"}}, err
	}
}
