package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"llm-auto-optimizer/optimizer/control"
)

// Set by the linker, see the Makefile: -ldflags '-X main.version=…'.
var version, commit, date string

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints which build this is.
func (c *versionCmd) Run(env *environment) error {
	v := buildVersion()
	if c.JSON {
		return json.NewEncoder(env.stdout).Encode(v)
	}
	fmt.Fprintf(env.stdout, "llmopt %s\n", v.Version)
	if v.Commit != "" {
		fmt.Fprintf(env.stdout, "commit %s %s\n", v.Commit, v.Date)
	}
	fmt.Fprintf(env.stdout, "%s %s/%s\n", v.Go, runtime.GOOS, runtime.GOARCH)
	return nil
}

// buildVersion is what the linker was told, or else what the toolchain recorded by itself (go install, go build).
func buildVersion() control.Version {
	v := control.Version{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		fillVersion(&v, info)
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}

// fillVersion takes from info what v lacks.
func fillVersion(v *control.Version, info *debug.BuildInfo) {
	if v.Version == "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && v.Commit == "":
			v.Commit = s.Value
		case s.Key == "vcs.time" && v.Date == "":
			v.Date = s.Value
		}
	}
}
