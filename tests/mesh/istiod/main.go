// Command sidetrack-istiod runs Istio's own code on manifests, without a cluster: what would the API server and
// istiod's webhook answer, and what would istiod send to a proxy?
//
// It is a thin wrapper around packages that Istio's tests use: the validator of custom resources, the admission
// webhook, the fake discovery server and the writer of Envoy's bootstrap. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	_ "example.com/sidetrack/mesh/istiod/environment"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

const usage = `usage:
  sidetrack-istiod check FILES...
  sidetrack-istiod dump --proxy router|sidecar|waypoint --out FOLDER [options] FILES...
  sidetrack-istiod serve --grpc ADDRESS [options] FILES...
  sidetrack-istiod bootstrap --proxy router|sidecar|waypoint --grpc ADDRESS [options]
Each command lists its options with --help.
`

// errRefused means that the program worked, and that a cluster would refuse an object.
var errRefused = errors.New("refused")

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	commands := map[string]func(arguments []string) error{
		"check": check, "dump": dump, "serve": serve, "bootstrap": printBootstrap,
	}
	command, known := commands[os.Args[1]]
	if !known {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	setLogLevel(log.ErrorLevel)
	err := command(os.Args[2:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errRefused):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "sidetrack-istiod:", err)
		os.Exit(2)
	}
}

// setLogLevel limits what Istio's packages log, and sends it to standard error.
func setLogLevel(level log.Level) {
	settings := log.DefaultOptions()
	settings.OutputPaths = []string{"stderr"}
	if err := log.Configure(settings); err != nil {
		fmt.Fprintln(os.Stderr, "sidetrack-istiod:", err)
	}
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(level)
	}
}

// asTest runs code that is written for Go's tests, outside of a test.
func asTest(work func(t test.Failer) error) error {
	var inner error
	if err := test.Wrap(func(t test.Failer) { inner = work(t) }); err != nil {
		return err
	}
	return inner
}

// shared is the path of a file from Istio's source that the program does not contain. scripts/mesh.sh copies the files
// when it builds the program; SIDETRACK_ISTIOD_FILES names another folder.
func shared(name string) (string, error) {
	folder := os.Getenv("SIDETRACK_ISTIOD_FILES")
	if folder == "" {
		program, err := os.Executable()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(filepath.Dir(program), "../share/istiod")
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: scripts/setup.sh mesh copies it from Istio's source", err)
	}
	return path, nil
}
