// Package environment sets the switches of istiod that a command needs and that the caller did not set.
//
// Istio's packages read the switches from the environment while Go initializes them. Go initializes packages whose
// imports are ready in the order of their paths (language specification, "Program initialization"). This package imports
// only the standard library and its path sorts before istio.io, so it runs first.
package environment

import (
	"os"
	"strings"
)

func init() {
	// Istio's test packages look for a build folder and print a warning if there is none.
	set("TARGET_OUT", os.TempDir())
	set("LOCAL_OUT", os.TempDir())
	if hasArgument("serve") || hasArgument("upstream-envoy") {
		// Filters that only Istio's build of Envoy has.
		set("PILOT_ENABLE_ALPN_FILTER", "false")
		set("PILOT_ENABLE_METADATA_EXCHANGE", "false")
	}
	if hasArgument("ambient") || hasArgument("waypoint") || hasArgument("proxy=waypoint") {
		set("PILOT_ENABLE_AMBIENT", "true")
	}
}

func set(name, value string) {
	if _, given := os.LookupEnv(name); !given {
		os.Setenv(name, value)
	}
}

// hasArgument reports whether a word is among the arguments, with or without dashes.
func hasArgument(word string) bool {
	for _, argument := range os.Args[1:] {
		if strings.TrimLeft(argument, "-") == word {
			return true
		}
	}
	return false
}
