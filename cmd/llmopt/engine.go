package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/storage"
)

// engineCmd is the process that a server keeps its database in; see storage/DESIGN.md.
type engineCmd struct {
	Dir     string `required:"" help:"Directory of the database." placeholder:"DIR"`
	MinFree int64  `help:"Bytes left free on the disk." placeholder:"BYTES"`
	MaxSize int64  `help:"Size of the files at which windows are no longer written, in bytes." placeholder:"BYTES"`
}

// Run answers calls on standard input and output until the input ends.
func (c *engineCmd) Run(*environment) error {
	return storage.ServeEngine(os.Stdin, os.Stdout, c.Dir, storage.Limits{MinFree: c.MinFree, MaxSize: c.MaxSize})
}

// engineProcess is the command that runs the engine for the settings.
func engineProcess(c *config.Storage) *exec.Cmd {
	//nolint:gosec // it is this program itself
	cmd := exec.Command(ownProgram(), "engine", "--dir", c.Dir,
		"--min-free", strconv.FormatInt(int64(c.MinFree), 10), "--max-size", strconv.FormatInt(int64(c.MaxSize), 10))
	cmd.Args[0] = "llmopt"
	cmd.Env = []string{} // the engine needs none of the server's secrets
	return cmd
}

// ownProgram is the path of this program, also when its file has been replaced by another version meanwhile.
func ownProgram() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
