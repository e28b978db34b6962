package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"path"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// What Postgres alone can do, by the name of the migration that it belongs to.
//
//go:embed postgres/*.sql
var postgresOnly embed.FS

// versionTable is where goose notes what it has done.
const versionTable = "schema_version"

// scripts returns the migrations, whose files begin with their number.
func scripts(e engine) ([]*goose.Migration, error) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	var out []*goose.Migration
	for _, f := range files {
		version, err := goose.NumericComponent(f.Name())
		if err != nil {
			return nil, err
		}
		script, err := migrations.ReadFile(path.Join("migrations", f.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, goose.NewGoMigration(version, &goose.GoFunc{
			RunTx: func(ctx context.Context, tx *sql.Tx) error {
				if err := e.enterSchema(ctx, tx); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, string(script)); err != nil {
					return err
				}
				return e.alsoMigrate(ctx, tx, f.Name())
			},
		}, nil))
	}
	return out, nil
}

// migrate brings the tables up to date. The caller holds the schema's lock.
func (s *Store) migrate(ctx context.Context) error {
	found, ours, err := s.versions(ctx)
	switch {
	case err != nil && !s.engine.noTable(err):
		return err // goose would take a damaged file for an empty one
	case found > ours:
		return newer(found, ours)
	case found == ours:
		return nil
	}
	all, err := scripts(s.engine)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(s.engine.dialect(), s.writer, nil,
		goose.WithGoMigrations(all...), goose.WithDisableGlobalRegistry(true), goose.WithTableName(s.engine.versionTable()))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the tables from version %d up to %d: %w", found, ours, err)
	}
	return nil
}

// versions returns the version of the tables, 0 if there are none, and the one
// that this program writes.
func (r *Reader) versions(ctx context.Context) (found, ours int64, err error) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return 0, 0, err
	}
	ours, err = goose.NumericComponent(files[len(files)-1].Name()) // they are sorted
	if err != nil {
		return 0, 0, err
	}
	err = r.db.QueryRowContext(ctx, r.sql("SELECT COALESCE(MAX(version_id), 0) FROM main."+versionTable)).Scan(&found)
	return found, ours, err
}

func newer(found, ours int64) error {
	return fmt.Errorf("this database was written by a newer chatwoot-sla: its schema is version %d, this program knows up to %d; upgrade, or restore a backup from before", found, ours)
}

// checkSchema refuses a database whose tables are of another version than ours.
func (r *Reader) checkSchema(ctx context.Context) error {
	found, ours, err := r.versions(ctx)
	switch {
	case err != nil && r.engine.noTable(err):
		return fmt.Errorf("%w: it holds none of our tables; start the daemon once, or name the database that it uses", ErrNoDatabase)
	case err != nil:
		return err
	case found > ours:
		return newer(found, ours)
	case found < ours:
		return fmt.Errorf("its schema is version %d and this program needs %d: start the new daemon first, which brings it up to date", found, ours)
	}
	return nil
}

// ErrNoDatabase says that there is nothing to read yet.
var ErrNoDatabase = errors.New("there is no database yet")
