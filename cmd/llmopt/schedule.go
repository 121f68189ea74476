package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/jobs"
	"llm-auto-optimizer/optimizer/runner"
)

// The background jobs, by their names in [schedule].
const (
	jobRollup    = "rollup"
	jobRetention = "retention"
	jobBackup    = "backup"
	jobRotate    = "rotate"
	jobOptimize  = "optimize"
	jobAnalyse   = "analyse"
)

// newJobs makes the jobs that there is work for.
func (g *gateway) newJobs(c *config.Config) error {
	var list []jobs.Job
	if d := g.durable; d != nil {
		list = []jobs.Job{
			{Name: jobRollup, Help: "store the windows that have become complete", Run: d.keeper.RollUp},
			{Name: jobRetention, Help: "delete state that is older than it is to be kept", Run: d.keeper.Retain},
			{Name: jobBackup, Help: "back up the state to storage.backup_dir", Run: g.backup},
		}
	}
	list = append(list, jobs.Job{Name: jobOptimize, Help: "have the optimizer look at what has come in, decide, and put it in force", Run: g.optimize},
		jobs.Job{Name: jobAnalyse, Help: "see what becomes of budgets, and whether targets become slower", Run: g.analyst.run})
	if file := g.logFile; file != nil {
		list = append(list, jobs.Job{Name: jobRotate, Help: "begin a new access log file", Run: func(context.Context) error { return g.rotate(file) }})
	}
	schedule, err := scheduleOf(c)
	if err != nil {
		return err
	}
	g.jobs = jobs.New(g.logs.of(logJobs), schedule, list...)
	return nil
}

func scheduleOf(c *config.Config) (jobs.Schedule, error) {
	s := &c.Schedule
	location, err := time.LoadLocation(s.Timezone)
	if err != nil {
		return jobs.Schedule{}, fmt.Errorf("%w: schedule.timezone: %w", errUsage, err)
	}
	optimize := s.Optimize
	if !c.Optimizer.Enabled {
		optimize = ""
	}
	backup := s.Backup
	if c.Storage.BackupDir == "" {
		backup = "" // nowhere to put one
	}
	return jobs.Schedule{
		Location: location, Jitter: s.Jitter, Timeout: s.Timeout,
		Cron: map[string]string{jobRollup: s.Rollup, jobRetention: s.Retention, jobBackup: backup, jobRotate: s.Rotate, jobOptimize: optimize, jobAnalyse: s.Analyse},
	}, nil
}

// optimize runs a cycle of the optimizer.
func (g *gateway) optimize(ctx context.Context) error {
	_, err := g.optimizer.Cycle(ctx)
	if errors.Is(err, runner.ErrOff) {
		return nil // it has said so
	}
	return err
}

var errNoBackupDir = errors.New("storage.backup_dir is empty")

const (
	backupPrefix = "llmopt-"
	backupSuffix = ".backup"
)

// backup writes a backup into the directory for them and deletes the oldest ones there.
func (g *gateway) backup(ctx context.Context) error {
	c := &g.reload.current.Load().Storage
	if c.BackupDir == "" {
		return errNoBackupDir
	}
	if err := os.MkdirAll(c.BackupDir, 0o700); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	name := backupPrefix + time.Now().UTC().Format("20060102T150405.000Z") + backupSuffix
	path := filepath.Join(c.BackupDir, name)
	if err := writeWhole(path, func(f *os.File) error { return g.durable.store.Backup(ctx, f) }); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	g.log.Info().Str("file", path).Msg("state backed up")
	kept, err := filepath.Glob(filepath.Join(c.BackupDir, backupPrefix+"*"+backupSuffix))
	if err != nil {
		return fmt.Errorf("delete old backups: %w", err)
	}
	slices.Sort(kept) // by time
	var errs []error
	for len(kept) > c.BackupKeep {
		errs = append(errs, os.Remove(kept[0]))
		kept = kept[1:]
	}
	return errors.Join(errs...)
}

// writeWhole makes a file that is there with all of its content, on the disk, or not at all.
func writeWhole(path string, write func(*os.File) error) (err error) {
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = write(f); err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
