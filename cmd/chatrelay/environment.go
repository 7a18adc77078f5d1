package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// fromEnvironment fills flags that were not given from CHATRELAY_<FLAG>. An empty variable counts
// as absent, as compose files pass absent ones on, and so does
// one that is not meant for us.
func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f)
		value := os.Getenv(name)
		if f.Changed || value == "" || isServiceLink(name, value) {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s=%q: %w", name, value, err))
		}
	})
	return errors.Join(errs...)
}

// serviceLink is what Kubernetes, and links of Docker, put into variables such as CHATRELAY_NATS_PORT.
var serviceLink = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// isServiceLink reports whether a variable was made of a service that happens to be named like the
// beginning of one of ours: of chatrelay-nats, Kubernetes makes CHATRELAY_NATS_PORT=tcp://10.0.0.1:4222 for
// every pod of the namespace. (The others that it makes, such as CHATRELAY_NATS_SERVICE_HOST, are no flags'.)
func isServiceLink(name, value string) bool {
	return strings.HasSuffix(name, "_PORT") && serviceLink.MatchString(value)
}

// variable is the environment variable for a flag; "" for those that are given by hand only.
func variable(f *pflag.Flag) string {
	switch f.Name {
	case "help", "version", "yes":
		return ""
	}
	return "CHATRELAY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}
