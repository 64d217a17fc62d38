package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

// serve answers proxies over TCP and follows the files.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	var common options
	common.register(flags)
	address := flags.String("grpc", "", "the address for proxies, such as 127.0.0.1:15010")
	debug := flags.String("http", "", "the address of istiod's debug pages (/debug/syncz lists what proxies refused)")
	every := flags.Duration("every", 500*time.Millisecond, "how often to look for changed files")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *address == "" {
		return errors.New("--grpc is missing")
	}
	files := flags.Args()
	objects, err := readObjects(files)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	setLogLevel(log.WarnLevel) // which includes what proxies refuse
	return asTest(func(t test.Failer) error {
		report := func(answer verdict) { fmt.Println(answer) }
		listen := func() (net.Listener, error) { return net.Listen("tcp", *address) }
		istiod, err := common.start(t, objects, listen, report)
		if err != nil {
			return err
		}
		if *debug != "" {
			pages, err := net.Listen("tcp", *debug)
			if err != nil {
				return err
			}
			go http.Serve(pages, istiod.DiscoveryDebug)
		}
		fmt.Println("ready")
		seen := stamps(files)
		ticker := time.NewTicker(*every)
		defer ticker.Stop()
		for {
			select {
			case received := <-signals:
				if received != syscall.SIGHUP {
					return nil
				}
			case <-ticker.C:
				if now := stamps(files); reflect.DeepEqual(now, seen) {
					continue
				}
			}
			seen = stamps(files)
			wanted, err := readObjects(files)
			if err != nil {
				fmt.Println("cannot read the files, so nothing changed:", err)
				continue
			}
			istiod.follow(wanted, common.unchecked)
		}
	})
}

// stamps are the times of the last change of each file.
func stamps(files []string) map[string]time.Time {
	times := map[string]time.Time{}
	for _, file := range files {
		if about, err := os.Stat(file); err == nil {
			times[file] = about.ModTime()
		}
	}
	return times
}

// follow applies new and changed objects, and deletes missing ones. Objects that a cluster would refuse keep their last
// accepted state.
func (c *cluster) follow(wanted []object, unchecked bool) {
	present := map[string]bool{}
	for _, one := range wanted {
		present[one.identity()] = true
		if answer := c.validate(&one); !answer.Accepted && !unchecked {
			fmt.Println(answer)
			continue
		}
		if old, exists := c.objects[one.identity()]; exists && string(old.json) == string(one.json) {
			continue
		}
		c.report("applied ", one, c.put(one))
	}
	for identity, old := range c.objects {
		if !present[identity] {
			c.report("deleted ", old, c.remove(old))
		}
	}
}

func (c *cluster) report(done string, one object, err error) {
	if err != nil {
		fmt.Printf("failed   %s: %v\n", one.key(), err)
		return
	}
	fmt.Println(done, one.key())
}
